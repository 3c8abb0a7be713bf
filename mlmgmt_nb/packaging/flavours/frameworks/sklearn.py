"""scikit-learn: estimators and pipelines, saved as skops files if skops supports them, otherwise as pickles."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.flavours.frameworks.skops_file import renumbered
from mlmgmt_nb.packaging.metadata import changed_parameters
from mlmgmt_nb.packaging.pickles import has_notebook_code, saved_pickle

__all__ = ["FLAVOUR"]

_FILE = "model.skops"


class ScikitLearn(Flavour):
    """Estimators, pipelines and searches."""

    name = "scikit-learn"
    roots: ClassVar[tuple[str, ...]] = ("sklearn",)
    endings: ClassVar[tuple[str, ...]] = (".skops",)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        answer = (f"return model.{call.method}({call.sample.passed})",)
        if importlib.util.find_spec("skops") is None:
            return _as_pickle(model, folder, answer, "install skops for a format that runs no code when it is loaded")
        if has_notebook_code(model):  # checked first: importing skops also imports all of scikit-learn, and PyTorch
            return _as_pickle(
                model, folder, answer, "skops does not support code of the notebook, so it is saved as a pickle"
            )
        trusted = _write_skops(model, folder / _FILE)
        if trusted is None:
            return _as_pickle(model, folder, answer, "skops does not support this model, so it is saved as a pickle")
        return _loaded_by_skops(_FILE, trusted, answer)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        from skops import io

        if unknown := io.get_untrusted_types(file=path):
            raise UsageError(
                f"model: {path.name} has types that are not known to be safe: {', '.join(unknown)}",
                field="model",
                fix="Load it in the notebook with the types that you trust, and give the object.",
            )
        name = copied(path, folder)
        return _loaded_by_skops(name, [], (f"return model.{call.method or 'predict'}({call.sample.passed})",))

    def metadata(self, model: Any) -> dict[str, Any]:
        found = super().metadata(model)
        steps = getattr(model, "steps", None)
        if steps:
            last = steps[-1][1]
            found |= {"steps": [type(step).__name__ for _, step in steps], **changed_parameters(last)}
        return found


def _write_skops(model: Any, path: Path) -> list[str] | None:
    """Write a skops file. Return the types that the driver must trust, or None if skops does not support the model.

    Trusting them is safe: they are the types of the user's own object, not of a file from elsewhere.
    """
    from skops import io

    try:
        content = renumbered(io.dumps(model))
        trusted = io.get_untrusted_types(data=content)
        io.loads(content, trusted=trusted)
    except Exception:  # noqa: BLE001 - skops raises many types; a pickle supports more objects
        return None
    path.write_bytes(content)
    return sorted(trusted)


def _loaded_by_skops(name: str, trusted: list[str], answer: tuple[str, ...]) -> SavedModel:
    if not trusted:
        return SavedModel(name, "skops", (f'model = io.load("{name}")',), answer, ("from skops import io",))
    lines = ("TRUSTED = [", *(f'    "{kind}",' for kind in trusted), "]")
    modules = frozenset(kind.rpartition(".")[0] for kind in trusted)
    load = (f'model = io.load("{name}", trusted=TRUSTED)',)
    return SavedModel(name, "skops", load, answer, ("from skops import io",), lines, modules)


def _as_pickle(model: Any, folder: Path, answer: tuple[str, ...], note: str) -> SavedModel:
    saved = saved_pickle(model, folder, answer)
    return replace(saved, notes=(*saved.notes, note))


FLAVOUR = ScikitLearn()
