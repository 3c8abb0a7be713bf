"""Keras with any backend: models in the framework's own format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied

__all__ = ["FLAVOUR"]

_FILE = "model.keras"
_OWN = ("keras", "tensorflow", "tf_keras")


class Keras(Flavour):
    """Keras models, and `.keras` files."""

    name = "keras"
    roots: ClassVar[tuple[str, ...]] = ("keras",)
    endings: ClassVar[tuple[str, ...]] = (".keras",)

    def takes(self, model: Any) -> bool:
        return super().takes(model) and hasattr(model, "layers") and hasattr(model, "predict")

    def answer(self, model: Any, call: Call) -> Any:
        return getattr(model, call.method or "predict")(call.sample.value, **_quiet(call))

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        modules = sorted(set(_foreign_modules(model)))
        model.save(folder / _FILE)
        return _loaded(_FILE, call, modules)

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        return _loaded(copied(path, folder), call, [])

    def metadata(self, model: Any) -> dict[str, Any]:
        return {"class": type(model).__name__, "steps": [type(layer).__name__ for layer in model.layers]}


def _quiet(call: Call) -> dict[str, Any]:
    return {"verbose": 0} if (call.method or "predict") == "predict" else {}


def _foreign_modules(model: Any) -> Iterator[str]:
    """Yield the modules of layers that are not part of Keras.

    Raises:
        UsageError: a layer is a class of the notebook, which a `.keras` file cannot contain.
    """
    for part in (model, *model.layers):
        module = type(part).__module__
        if module == "__main__":
            name = type(part).__name__
            raise UsageError(
                f"model: {name} is a class of the notebook, which a .keras file cannot contain",
                field="model",
                fix=f"Put {name} into a module, under `@keras.saving.register_keras_serializable()`.",
            )
        if module.partition(".")[0] not in _OWN:
            yield module


def _loaded(name: str, call: Call, modules: list[str]) -> SavedModel:
    import keras

    backend = keras.backend.backend()
    load = [f'model = keras.saving.load_model("{name}")']
    imports = [f"import {module}  # registers its layers" for module in modules]
    if backend == "tensorflow":
        imports = ["import keras", *imports]
    else:  # the backend must be set before Keras is imported
        load = [f'os.environ["KERAS_BACKEND"] = "{backend}"', "import keras", "", *imports, *load]
        imports = ["import os"]
    quiet = ", verbose=0" if _quiet(call) else ""
    answer = (f"return model.{call.method or 'predict'}({call.sample.passed}{quiet})",)
    return SavedModel(name, "Keras", tuple(load), answer, tuple(imports), modules=frozenset([*modules, backend]))


FLAVOUR = Keras()
