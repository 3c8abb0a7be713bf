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


@dataclass(frozen=True)
class Call:
    """How the model is called.

    Attributes:
        method: name of the method, or None for the flavour's own way.
        sample: the sample.
    """

    method: str | None
    sample: Sample


@dataclass(frozen=True)
class SavedModel:
    """A model as files, and the lines of a driver that load and call it.

    Attributes:
        file: name of the file or folder in the application folder.
        format: the format, for people.
        load: statements of `init`; they set the global name.
        answer: statements of `run`.
        imports: import statements that both need.
        constants: statements at the top of the driver.
        modules: names of modules that loading it imports, perhaps.
        notes: what the user should know.
        metadata: facts about the model.
        name: the global name that the statements set.
        code: names of the classes and functions of the notebook that are in it.
        requirements: requirement lines that come with a model folder; None when they are to be measured.
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
    """Base of the flavours. Subclasses import their framework only inside of methods.

    Attributes:
        name: of the framework.
        roots: top-level modules of the framework's classes.
        endings: endings of its files.
    """

    name: ClassVar[str] = ""
    roots: ClassVar[tuple[str, ...]] = ()
    endings: ClassVar[tuple[str, ...]] = ()

    def takes(self, model: Any) -> bool:
        """Return whether it packages this object, `model`."""
        return is_made_of(model, self.roots)

    def takes_file(self, path: Path) -> bool:
        """Return whether it packages the file or folder at `path`."""
        return path.is_file() and path.suffix.lower() in self.endings

    def sample(self, model: Any, sample: Any) -> Sample:  # noqa: ARG002 - some look at the model
        """Return the user's `sample` as the driver gets it; some flavours look at the model."""
        from mlmgmt_nb.packaging.samples.sample import of_model

        return of_model(sample, arrays=True)

    def method(self, model: Any) -> str | None:
        """Return the method of `model` that is called when the user names none.

        Raises:
            UsageError: the object has none.
        """
        if callable(getattr(model, "predict", None)):
            return "predict"
        methods = [name for name in ("transform", "decision_function", "score_samples") if hasattr(model, name)]
        hint = f", such as `method={methods[0]!r}`" if methods else ""
        raise UsageError(
            f"model: a {type(model).__name__} has no method `predict`",
            field="method",
            fix=f"Name the method to call{hint}.",
        )

    def check_method(self, model: Any, method: str) -> None:
        """Check that `model` has the method.

        Raises:
            UsageError: it does not.
        """
        if not callable(getattr(model, method, None)):
            raise UsageError(
                f"method: a {type(model).__name__} has no method {method!r}",
                field="method",
                fix="Name a method that takes the sample, such as `method='predict'`.",
            )

    def answer(self, model: Any, call: Call) -> Any:
        """Return the answer of `model` in the notebook to a `call`."""
        assert call.sample.given is not None
        positional, named = call.sample.given
        return getattr(model, call.method or "predict")(*positional, **named)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:
        """Write `model` into the folder, for a driver that answers as `call` says."""
        raise NotImplementedError

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        """Copy the file or folder at `path` into the application `folder`, for a driver that answers as `call` says."""
        raise NotImplementedError

    def metadata(self, model: Any) -> dict[str, Any]:
        """Return facts about `model`: its class, classes and hyperparameters."""
        found: dict[str, Any] = {"class": type(model).__name__, **changed_parameters(model)}
        classes = getattr(model, "classes_", None)
        if getattr(classes, "ndim", 0) == 1:
            found["classes"] = classes.tolist()  # type: ignore[union-attr]
        return found


def awaited(function: Any) -> str:
    """Return `await ` for an asynchronous function or object, else nothing: how a driver calls it."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - its code, not whether it can be called
    return "await " if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call) else ""


def completed(answer: Any) -> Any:
    """Return an answer; that of an asynchronous function is awaited, in a thread since a notebook runs a loop here."""
    if not inspect.iscoroutine(answer):
        return answer
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, answer).result()


def is_made_of(model: Any, roots: tuple[str, ...]) -> bool:
    """Return whether the class of an object, or a parent of it, is of one of these packages. Imports nothing."""
    return any(cls.__module__.partition(".")[0] in roots for cls in type(model).__mro__)


def copied(path: Path, folder: Path) -> str:
    """Copy a file or folder into the application folder; return its name there."""
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", ".git", ".ipynb_checkpoints"))
    else:
        shutil.copy2(path, target)
    return path.name


def framework_class(model: Any, root: str) -> str:
    """Return the name of the framework's own class that an object is of, or inherits from."""
    return next(cls.__name__ for cls in type(model).__mro__ if cls.__module__.partition(".")[0] == root)
