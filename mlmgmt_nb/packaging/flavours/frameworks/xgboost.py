"""XGBoost: estimators and boosters saved as the framework's binary JSON, and files in its binary or text JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied, framework_class

__all__ = ["FLAVOUR"]

_FILE = "model.ubj"


class XGBoost(Flavour):
    """`XGBClassifier`, the other XGBoost estimators, and `Booster`."""

    name = "xgboost"
    roots: ClassVar[tuple[str, ...]] = ("xgboost",)
    endings: ClassVar[tuple[str, ...]] = (".ubj", ".json")

    def takes_file(self, path: Path) -> bool:
        if not super().takes_file(path):
            return False
        with path.open("rb") as file:
            return b"learner" in file.read(4096)

    def answer(self, model: Any, call: Call) -> Any:
        if not _is_booster(model):
            return super().answer(model, call)
        import xgboost

        return model.predict(xgboost.DMatrix(call.sample.value, enable_categorical=True))

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        model.save_model(folder / _FILE)
        if _is_booster(model):
            return _as_booster(_FILE, call)
        name = framework_class(model, "xgboost")
        # The file does not contain this setting of the Python class.
        categorical = "enable_categorical=True" if model.get_params().get("enable_categorical") else ""
        load = (f"model = xgboost.{name}({categorical})", f'model.load_model("{_FILE}")')
        answer = (f"return model.{call.method}({call.sample.passed})",)
        return SavedModel(_FILE, "XGBoost UBJSON", load, answer, ("import xgboost",))

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        return _as_booster(copied(path, folder), call)


def _is_booster(model: Any) -> bool:
    return type(model).__name__ == "Booster"


def _as_booster(name: str, call: Call) -> SavedModel:
    form = "XGBoost JSON" if name.endswith(".json") else "XGBoost UBJSON"
    load = (f'model = xgboost.Booster(model_file="{name}")',)
    answer = (f"return model.predict(xgboost.DMatrix({call.sample.passed}, enable_categorical=True))",)
    return SavedModel(name, form, load, answer, ("import xgboost",))


FLAVOUR = XGBoost()
