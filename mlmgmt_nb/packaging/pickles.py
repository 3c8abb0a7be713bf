"""Pickles by value, which contain the classes and functions of the notebook. Errors name unpicklable parts."""

from __future__ import annotations

import functools
import inspect
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.named_modules import pickle_texts
from mlmgmt_nb.packaging.carried_data import check_carried_data, is_by_value, kind_of, referred
from mlmgmt_nb.packaging.flavours.base import SavedModel

__all__ = ["has_notebook_code", "modules_in", "pickled", "saved_pickle"]

_FILE = "model.pkl"
_DEPTH = 10
_LONGEST_NAME = 200
_CACHED = type(functools.cache(len))
_OF_VALUES = frozenset({"__module__", "__name__", "__package__", "__file__"})
"""Attributes of code that a pickle contains by value."""


def saved_pickle(
    model: Any, folder: Path, answer: tuple[str, ...], *, imports: tuple[str, ...] = (), name: str = "model"
) -> SavedModel:
    """Write an object as a pickle that contains classes and functions of the notebook by value.

    Args:
        model: the object.
        folder: the application folder.
        answer: statements of `run`.
        imports: import statements for `answer`.
        name: the global name of the object in the driver.
    """
    content, code = _pickled(model)
    (folder / _FILE).write_bytes(content)
    return SavedModel(
        _FILE,
        "pickle",
        load=(f'with open("{_FILE}", "rb") as file:', f"    {name} = pickle.load(file)"),
        answer=answer,
        imports=("import pickle", *imports),
        modules=frozenset(modules_in(content)),
        name=name,
        code=tuple(sorted(code)),
    )


def has_notebook_code(model: Any) -> bool:
    """Return whether an object needs classes or functions of the notebook, or cannot be pickled by reference."""
    try:
        _Finder(_NullFile()).dump(model)
    except Exception:  # noqa: BLE001 - user code may raise any exception; pickling by value reports it later
        return True
    return False


class _NullFile:
    """A file that discards its content."""

    def write(self, content: Any) -> int:
        return len(content)


class _Finder(pickle.Pickler):
    """A pickler that raises at the first class or function of the notebook."""

    def persistent_id(self, value: Any) -> None:
        if getattr(value, "__module__", None) == "__main__" and hasattr(value, "__qualname__"):
            raise pickle.PicklingError(value.__qualname__)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """A pickler by value that refuses code with too much data, at any depth of an object.

    Attributes:
        code: names of the notebook's classes and functions that it wrote.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.code: set[str] = set()

    def persistent_id(self, value: Any) -> None:
        check_carried_data(value)
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == "__main__":
            name = value.__qualname__
            if "<" not in name:  # neither a lambda nor a local function
                self.code.add(name.partition(".")[0])  # a method is listed as its class

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, _CACHED) and is_by_value(value):
            return functools.lru_cache, (value.__wrapped__,)  # otherwise pickled as a reference to the notebook
        if isinstance(value, functools.cached_property):  # it contains a lock in Python 3.11
            return functools.cached_property, (value.func,), {"attrname": value.attrname}
        return super().reducer_override(value)


def pickled(model: Any) -> bytes:
    """Pickle an object by value.

    Raises:
        UsageError: the object cannot be pickled, or carries too much data. The message names the part.
    """
    return _pickled(model)[0]


def _pickled(model: Any) -> tuple[bytes, set[str]]:
    """Return the pickle, and the names of the notebook's classes and functions that it contains."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(model)
    except UsageError:
        raise
    except Exception as error:
        path, part, reason = _find_unpicklable(model, "model", error, _DEPTH)
        raise UsageError(
            f"model: {path} is a {kind_of(part)}, which cannot be sent to the service: {reason}",
            field="model",
            fix="Remove it from the object, or open it in a driver of your own.",
        ) from error
    return file.getvalue(), pickler.code


def modules_in(content: bytes) -> Iterator[str]:
    """Yield all text of a pickle that may be a module name: of classes, functions and imports in functions.

    Code by value also names its own module, which it does not need. That text is skipped.
    """
    for _, before, text in pickle_texts(content):
        if before not in _OF_VALUES and len(text) < _LONGEST_NAME:
            yield text


def _find_unpicklable(value: Any, path: str, error: Exception, depth: int) -> tuple[str, Any, str]:
    """Return the innermost part that cannot be pickled: its path, its value, and the reason."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    if depth:
        for name, part in _parts(value, path):
            try:
                cloudpickle.Pickler(_NullFile()).dump(part)
            except Exception as inner:  # noqa: BLE001 - user code may raise any exception
                return _find_unpicklable(part, name, inner, depth - 1)
    return path, value, reason


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"{path}[{place}]", part) for place, part in enumerate(value))
    elif inspect.isfunction(value):
        yield from ((name, part) for name, part in referred(value) if part is not value)
    else:
        yield from ((f"{path}.{name}", part) for name, part in getattr(value, "__dict__", {}).items())
