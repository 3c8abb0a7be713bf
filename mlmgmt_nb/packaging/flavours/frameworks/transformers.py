"""Hugging Face transformers: pipelines, with weights as safetensors, and model folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.samples.sample import Sample, of_model

__all__ = ["FLAVOUR"]

_FOLDER = "model"
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "ForImageClassification": "image-classification",
}
"""The task of a model folder, by the suffix of its architecture name."""


class Transformers(Flavour):
    """`pipeline(...)` objects, and folders with a `config.json`."""

    name = "transformers"
    roots: ClassVar[tuple[str, ...]] = ("transformers",)

    def takes(self, model: Any) -> bool:
        return super().takes(model) and hasattr(model, "task") and hasattr(model, "save_pretrained")

    def takes_file(self, path: Path) -> bool:
        config = path / "config.json"
        return config.is_file() and "model_type" in json.loads(config.read_text(encoding="utf-8"))

    def sample(self, model: Any, sample: Any) -> Sample:  # noqa: ARG002
        return of_model([sample] if isinstance(sample, str) else sample)

    def method(self, model: Any) -> str | None:  # noqa: ARG002
        return None

    def answer(self, model: Any, call: Call) -> Any:
        return model(call.sample.value)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        model.save_pretrained(folder / _FOLDER)
        return _loaded(_FOLDER, model.task, call)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        return _loaded(copied(path, folder), call.method or _task(path), call)

    def metadata(self, model: Any) -> dict[str, Any]:
        return {"class": type(model.model).__qualname__, "task": model.task}


def _task(path: Path) -> str:
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    for architecture in config.get("architectures") or ():
        for ending, task in _TASKS.items():
            if architecture.endswith(ending):
                return task
    raise UsageError(
        f"method: the task of {path.name} is not known",
        field="method",
        fix="Name it, such as `method='text-classification'`.",
    )


def _loaded(name: str, task: str, call: Call) -> SavedModel:
    load = (f'model = pipeline("{task}", model="{name}")',)
    answer = (f"return model({call.sample.passed})",)
    return SavedModel(
        name, "transformers folder", load, answer, ("from transformers import pipeline",), modules=frozenset({"torch"})
    )


FLAVOUR = Transformers()
