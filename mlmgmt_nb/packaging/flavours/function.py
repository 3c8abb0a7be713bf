"""Plain functions and other callables, described by their signature and type hints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, awaited
from mlmgmt_nb.packaging.pickles import saved_pickle
from mlmgmt_nb.packaging.samples.functions import of_function
from mlmgmt_nb.packaging.samples.sample import Sample

__all__ = ["FLAVOUR"]


_GLOBAL_NAMES = ("model", "function", "model_function", *(f"function_{number}" for number in range(1, 100)))


class Function(Flavour):
    """A function, a method, a `partial`, or another callable object."""

    name = "function"

    def takes(self, model: Any) -> bool:
        return callable(model)

    def sample(self, model: Any, sample: Any) -> Sample:
        return of_function(model, sample)

    def method(self, model: Any) -> str | None:
        if isinstance(model, type):
            raise UsageError(
                f"model: {model.__qualname__} is a class, not a fitted object of it",
                field="model",
                fix=f"Give the object: `model={model.__qualname__}(...).fit(...)`.",
            )
        return None

    def answer(self, model: Any, call: Call) -> Any:
        assert call.sample.given is not None
        positional, named = call.sample.given
        return (getattr(model, call.method) if call.method else model)(*positional, **named)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        # The global name must not equal the name of an argument.
        name = next(name for name in _GLOBAL_NAMES if name not in call.sample.types)
        called = f"{name}.{call.method}" if call.method else name
        await_ = awaited(getattr(model, call.method) if call.method else model)
        return saved_pickle(model, folder, (f"return {await_}{called}({call.sample.passed})",), name=name)

    def metadata(self, model: Any) -> dict[str, Any]:
        return {"function": getattr(model, "__name__", type(model).__name__)}


FLAVOUR = Function()
