"""Any object with `predict`, saved as a pickle, and pickle files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, awaited, copied
from mlmgmt_nb.packaging.pickles import modules_in, saved_pickle

__all__ = ["FLAVOUR"]


class Pickled(Flavour):
    """Objects with `predict` that other flavours do not package, and files with pickles."""

    name = "python object"
    endings: ClassVar[tuple[str, ...]] = (".pkl", ".pickle", ".joblib")

    def takes(self, model: Any) -> bool:
        return callable(getattr(model, "predict", None)) and not isinstance(model, type)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        await_ = awaited(getattr(model, call.method or "predict"))
        return saved_pickle(model, folder, (f"return {await_}model.{call.method}({call.sample.passed})",))

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        name = copied(path, folder)
        answer = (f"return model.{call.method or 'predict'}({call.sample.passed})",)
        notes = (f"{name} is a pickle: loading it runs any code that it contains",)
        if path.suffix.lower() == ".joblib":
            loaded = (f'model = joblib.load("{name}")',)
            return SavedModel(name, "joblib", loaded, answer, ("import joblib",), notes=notes)
        load = (f'with open("{name}", "rb") as file:', "    model = pickle.load(file)")
        modules = frozenset(modules_in(path.read_bytes()))
        return SavedModel(name, "pickle", load, answer, ("import pickle",), modules=modules, notes=notes)


FLAVOUR = Pickled()
