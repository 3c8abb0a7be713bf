"""LightGBM: estimators and boosters in the framework's own text format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.pickles import saved_pickle

__all__ = ["FLAVOUR"]

_FILE = "model.txt"


class LightGBM(Flavour):
    """`LGBMClassifier`, the other LightGBM estimators, and `Booster`."""

    name = "lightgbm"
    roots: ClassVar[tuple[str, ...]] = ("lightgbm",)
    endings: ClassVar[tuple[str, ...]] = (".txt",)

    def takes_file(self, path: Path) -> bool:
        if not super().takes_file(path):
            return False
        with path.open("rb") as file:
            return file.read(5) == b"tree\n"

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        booster = getattr(model, "booster_", model)
        lines = _answer(model, call)
        if lines is None:
            return saved_pickle(model, folder, (f"return model.{call.method}({call.sample.passed})",))
        booster.save_model(folder / _FILE)
        text = " ".join(lines)
        constants = (f"CLASSES = np.array({_literal(model.classes_.tolist())})",) if "CLASSES" in text else ()
        needs_numpy = constants or "np." in text
        imports = ("import lightgbm", "import numpy as np") if needs_numpy else ("import lightgbm",)
        return SavedModel(_FILE, "LightGBM text", _load(_FILE), lines, imports, constants)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        name = copied(path, folder)
        answer = (f"return model.predict({call.sample.passed})",)
        return SavedModel(name, "LightGBM text", _load(name), answer, ("import lightgbm",))


def _literal(values: list[Any]) -> str:
    """Return a list as Python source, with double quotes."""
    return "[" + ", ".join(json.dumps(value) if isinstance(value, str) else repr(value) for value in values) + "]"


def _load(name: str) -> tuple[str, ...]:
    return (f'model = lightgbm.Booster(model_file="{name}")',)


def _answer(model: Any, call: Call) -> tuple[str, ...] | None:
    """Return the statements that convert the booster's output to the estimator's answer; None if unsupported."""
    classes = getattr(model, "classes_", None)
    predicted = f"model.predict({call.sample.passed})"
    if classes is None:
        return (f"return {predicted}",) if call.method == "predict" else None
    if callable(model.objective) or call.method not in ("predict", "predict_proba"):
        return None
    is_binary = len(classes) == 2
    if call.method == "predict_proba":
        joined = (f"probability = {predicted}", "return np.column_stack([1 - probability, probability])")
        return joined if is_binary else (f"return {predicted}",)
    if is_binary:
        return (f"probability = {predicted}", "return CLASSES[(probability > 0.5).astype(int)]")
    return (f"return CLASSES[np.argmax({predicted}, axis=1)]",)


FLAVOUR = LightGBM()
