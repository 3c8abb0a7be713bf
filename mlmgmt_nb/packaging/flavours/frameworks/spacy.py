"""spaCy: pipelines as folders. A service returns the JSON form of the document for each text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.samples.sample import Sample, of_model

__all__ = ["FLAVOUR"]

_FOLDER = "model"


class SpaCy(Flavour):
    """`Language` objects, and folders written by `to_disk`."""

    name = "spacy"
    roots: ClassVar[tuple[str, ...]] = ("spacy",)

    def takes(self, model: Any) -> bool:
        return super().takes(model) and callable(getattr(model, "pipe", None)) and callable(model)

    def takes_file(self, path: Path) -> bool:
        return (path / "meta.json").is_file() and (path / "config.cfg").is_file()

    def sample(self, model: Any, sample: Any) -> Sample:  # noqa: ARG002
        return of_model([sample] if isinstance(sample, str) else list(sample) if sample is not None else None)

    def method(self, model: Any) -> str | None:  # noqa: ARG002
        return None

    def answer(self, model: Any, call: Call) -> Any:
        return [doc.to_json() for doc in model.pipe(call.sample.value)]

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        model.to_disk(folder / _FOLDER)
        return _loaded(_FOLDER, call)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        return _loaded(copied(path, folder), call)

    def metadata(self, model: Any) -> dict[str, Any]:
        return {"class": f"{model.lang} pipeline", "steps": list(model.pipe_names)}


def _loaded(name: str, call: Call) -> SavedModel:
    answer = (f"return [doc.to_json() for doc in model.pipe({call.sample.passed})]",)
    return SavedModel(name, "spaCy folder", (f'model = spacy.load("{name}")',), answer, ("import spacy",))


FLAVOUR = SpaCy()
