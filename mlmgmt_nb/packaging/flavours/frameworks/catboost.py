"""CatBoost: models in the framework's own format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied, framework_class

__all__ = ["FLAVOUR"]

_FILE = "model.cbm"


class CatBoost(Flavour):
    """`CatBoostClassifier` and the other CatBoost models."""

    name = "catboost"
    roots: ClassVar[tuple[str, ...]] = ("catboost",)
    endings: ClassVar[tuple[str, ...]] = (".cbm",)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        model.save_model(str(folder / _FILE))
        return _loaded(_FILE, framework_class(model, "catboost"), call)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        name = "CatBoostClassifier" if call.method == "predict_proba" else "CatBoost"
        return _loaded(copied(path, folder), name, call)


def _loaded(file: str, name: str, call: Call) -> SavedModel:
    load = (f"model = catboost.{name}()", f'model.load_model("{file}")')
    answer = (f"return model.{call.method or 'predict'}({call.sample.passed})",)
    return SavedModel(file, "CatBoost binary", load, answer, ("import catboost",))


FLAVOUR = CatBoost()
