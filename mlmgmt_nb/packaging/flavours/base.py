"""The base class of flavours, and their shared helpers."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.metadata import changed_parameters
from mlmgmt_nb.packaging.samples.sample import Sample

__all__ = ["Call", "Flavour", "SavedModel", "awaited", "completed", "copied", "framework_class", "is_made_of"]

_METHODS = ("predict", "transform", "decision_function", "score_samples")


@dataclass(frozen=True)
class Call:
    """A call of the model.

    Attributes:
        method: name of the method, or None for the default call of the flavour.
        sample: the sample.
    """

    method: str | None
    sample: Sample


@dataclass(frozen=True)
class SavedModel:
    """A model as files, and the lines of a driver that load and call it.

    Attributes:
        file: name of the file or folder in the application folder.
        format: display name of the format.
        load: statements of `init` that assign the model to the global name.
        answer: statements of `run`.
        imports: import statements for `init` and `run`.
        constants: statements at the top of the driver.
        modules: names of modules that loading it may import.
        notes: notes for the user.
        metadata: facts about the model.
        name: the global name of the model in the driver.
        code: names of the notebook's classes and functions that it contains.
        requirements: requirement lines from a model folder; None to determine them from the imports.
    """

    file: str
    format: str
    load: tuple[str, ...]
    answer: tuple[str, ...]
    imports: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = "model"
    code: tuple[str, ...] = ()
    requirements: tuple[str, ...] | None = None


class Flavour:
    """Base class of flavours. Subclasses import their framework only inside methods.

    Attributes:
        name: name of the framework.
        roots: top-level modules of the framework's classes.
        endings: extensions of its files.
    """

    name: ClassVar[str] = ""
    roots: ClassVar[tuple[str, ...]] = ()
    endings: ClassVar[tuple[str, ...]] = ()

    def takes(self, model: Any) -> bool:
        """Return whether the flavour packages the object `model`."""
        return is_made_of(model, self.roots)

    def takes_file(self, path: Path) -> bool:
        """Return whether the flavour packages the file or folder at `path`."""
        return path.is_file() and path.suffix.lower() in self.endings

    def sample(self, model: Any, sample: Any) -> Sample:  # noqa: ARG002 - some flavours use the model
        """Return the user's `sample` as the driver receives it, which may depend on the model."""
        from mlmgmt_nb.packaging.samples.sample import of_model

        return of_model(sample, arrays=True)

    def method(self, model: Any) -> str | None:
        """Return the default method of `model`.

        Raises:
            UsageError: the object has no method `predict`.
        """
        if callable(getattr(model, "predict", None)):
            return "predict"
        methods = [name for name in _METHODS if hasattr(model, name)]
        hint = f", such as `method={methods[0]!r}`" if methods else ""
        raise UsageError(
            f"model: a {type(model).__name__} has no method `predict`",
            field="method",
            fix=f"Name the method to call{hint}.",
        )

    def check_method(self, model: Any, method: str) -> None:
        """Check that `model` has the method.

        Raises:
            UsageError: the model does not have it.
        """
        if not callable(getattr(model, method, None)):
            known = next((name for name in _METHODS if callable(getattr(model, name, None))), None)
            otherwise = ", or leave it out" if callable(model) else ""
            hint = f", such as `method={known!r}`" if known else otherwise
            raise UsageError(
                f"method: a {type(model).__name__} has no method {method!r}",
                field="method",
                fix=f"Name a method that takes the sample{hint}.",
            )

    def answer(self, model: Any, call: Call) -> Any:
        """Return the answer of `model` to a `call`, computed in the notebook."""
        assert call.sample.given is not None
        positional, named = call.sample.given
        return getattr(model, call.method or "predict")(*positional, **named)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        """Write `model` to the folder, for a driver that performs the `call`."""
        raise NotImplementedError

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        """Copy the file or folder at `path` to the application `folder`, for a driver that performs the `call`."""
        raise NotImplementedError

    def metadata(self, model: Any) -> dict[str, Any]:
        """Return facts about `model`: its class, classes and hyperparameters."""
        found: dict[str, Any] = {"class": type(model).__name__, **changed_parameters(model)}
        classes = getattr(model, "classes_", None)
        if getattr(classes, "ndim", 0) == 1:
            found["classes"] = classes.tolist()  # type: ignore[union-attr]
        return found


def awaited(function: Any) -> str:
    """Return the prefix of a call in the driver: `await ` for an asynchronous function or object, otherwise ""."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the function is needed, not whether it exists
    return "await " if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call) else ""


def completed(answer: Any) -> Any:
    """Return an answer. A coroutine runs in another thread: the current thread may run the notebook's event loop."""
    if not inspect.iscoroutine(answer):
        return answer
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, answer).result()


def is_made_of(model: Any, roots: tuple[str, ...]) -> bool:
    """Return whether the class of an object, or one of its bases, is from one of these packages. Import nothing."""
    return any(cls.__module__.partition(".")[0] in roots for cls in type(model).__mro__)


def copied(path: Path, folder: Path) -> str:
    """Copy a file or folder to the application folder. Return its name there."""
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", ".git", ".ipynb_checkpoints"))
    else:
        shutil.copy2(path, target)
    return path.name


def framework_class(model: Any, root: str) -> str:
    """Return the name of the nearest framework class of an object: its own class, or a base."""
    return next(cls.__name__ for cls in type(model).__mro__ if cls.__module__.partition(".")[0] == root)
