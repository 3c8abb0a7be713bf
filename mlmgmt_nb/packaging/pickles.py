"""Pickles by value: they contain the classes and functions of the notebook; an error names parts that cannot."""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import pickletools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import SavedModel

__all__ = ["MAX_CARRIED_BYTES", "has_notebook_code", "modules_in", "notebook_code", "pickled", "saved_pickle"]

MAX_CARRIED_BYTES = 100 * 2**20
"""Data that a function of the notebook refers to may have so many bytes."""

_FILE = "model.pkl"
_DEPTH = 10
_LONGEST_NAME = 200
_OF_VALUES = frozenset({"__module__", "__name__", "__package__", "__file__"})
"""Attributes of code that is in a pickle by value."""


def saved_pickle(model: Any, folder: Path, answer: tuple[str, ...], *, imports: tuple[str, ...] = ()) -> SavedModel:
    """Write an object as a pickle, with classes and functions of the notebook in it by value."""
    content = pickled(model)
    (folder / _FILE).write_bytes(content)
    return SavedModel(
        _FILE,
        "pickle",
        load=(f'with open("{_FILE}", "rb") as file:', "    model = pickle.load(file)"),
        answer=answer,
        imports=("import pickle", *imports),
        modules=frozenset(modules_in(content)),
    )


def has_notebook_code(model: Any) -> bool:
    """Return whether an object needs classes or functions of the notebook, or of the body of a function."""
    try:
        _Finder(_NullFile()).dump(model)
    except Exception:  # noqa: BLE001 - also whatever pickling of a user's class raises: pickling by value names it
        return True
    return False


class _NullFile:
    """A file that discards its content."""

    def write(self, content: Any) -> int:
        return len(content)


class _Finder(pickle.Pickler):
    """A pickler that ends at the first class or function of the notebook."""

    def persistent_id(self, value: Any) -> None:
        if getattr(value, "__module__", None) == "__main__" and hasattr(value, "__qualname__"):
            raise pickle.PicklingError(value.__qualname__)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """A pickler by value that refuses code which takes much data along, wherever in an object it is."""

    def persistent_id(self, value: Any) -> None:
        if inspect.isfunction(value) and _is_by_value(value):
            _check_size(f"the function {value.__name__}", _referred(value))
        elif isinstance(value, functools.partial):
            _check_size("the partial", _bound(value))


def _is_by_value(function: Any) -> bool:
    """Return whether a function is of the notebook, or of the body of another function."""
    name = function.__qualname__
    return function.__module__ == "__main__" or "<locals>" in name or name.endswith("<lambda>")


def pickled(model: Any) -> bytes:
    """Pickle an object by value.

    Raises:
        UsageError: it cannot be pickled, or carries too much; names the part.
    """
    file = io.BytesIO()
    try:
        _Pickler(file).dump(model)
    except UsageError:
        raise
    except Exception as error:
        path, part, reason = _find_unpicklable(model, "model", error, _DEPTH)
        raise UsageError(
            f"model: {path} is a {_kind(part)}, which cannot be sent to the service: {reason}",
            field="model",
            fix="Remove it from the object, or open it in a driver of your own.",
        ) from error
    return file.getvalue()


def modules_in(content: bytes) -> Iterator[str]:
    """Yield all text of a pickle that may name a module: of classes, functions and imports within functions.

    Code that is there by value names its own module too, which it does not need.
    """
    for before, text in _texts(content):
        if before not in _OF_VALUES and len(text) < _LONGEST_NAME:
            yield text


def _texts(content: bytes) -> Iterator[tuple[str | None, str]]:
    """Yield all text of a pickle, each with the text that comes right before it."""
    memo: dict[int, str | None] = {}
    before: str | None = None
    text: str | None = None
    for code, argument, _ in pickletools.genops(content):
        if code.name == "MEMOIZE":
            memo[len(memo)] = text
            continue
        if "PUT" in code.name:
            memo[int(argument or 0)] = text
            continue
        before, text = text, memo.get(int(argument or 0)) if "GET" in code.name else argument
        text = text if isinstance(text, str) else None
        if text is not None:
            yield before, text


def notebook_code(content: bytes) -> list[str]:
    """Return the classes and functions of `__main__` that a pickle holds by value."""
    main = sys.modules["__main__"]
    texts = {argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)}
    if "__main__" not in texts:
        return []
    own = {
        name
        for name, value in vars(main).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == "__main__"
    }
    return sorted(own & texts)


def _check_size(what: str, referred: Iterable[tuple[str, Any]]) -> None:
    """Refuse code that refers to much data.

    Raises:
        UsageError: names the variable and its size.
    """
    for name, value in referred:
        size = _size(value)
        if size > MAX_CARRIED_BYTES:
            raise UsageError(
                f"model: {what} refers to {name}, a {_kind(value)} of {size / 1e6:,.0f} MB, which it would contain",
                field="model",
                fix=f"Write {name} to a file that a driver reads, or use a smaller part of it.",
            )


def _referred(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the variables outside of a function that it refers to."""
    function = model if inspect.isfunction(model) else getattr(model, "__func__", None)
    if function is None:
        return
    found = inspect.getclosurevars(function)
    yield from {**found.globals, **found.nonlocals}.items()


def _bound(partial: functools.partial[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments that a partial function has already."""
    yield from ((f"its argument {place}", value) for place, value in enumerate(partial.args))
    yield from partial.keywords.items()


def _size(value: Any) -> int:
    """Return the bytes of frames, arrays and texts; other objects count as small."""
    if hasattr(value, "memory_usage"):
        used = value.memory_usage(deep=False)
        return int(used.sum() if hasattr(used, "sum") else used)
    return int(getattr(value, "nbytes", 0) or (sys.getsizeof(value) if isinstance(value, (str, bytes)) else 0))


def _find_unpicklable(value: Any, path: str, error: Exception, depth: int) -> tuple[str, Any, str]:
    """Return the innermost part that cannot be pickled: its path, itself, and why."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    if depth:
        for name, part in _parts(value, path):
            try:
                cloudpickle.dumps(part)
            except Exception as inner:  # noqa: BLE001 - whatever pickling of a user's class raises
                return _find_unpicklable(part, name, inner, depth - 1)
    return path, value, reason


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"{path}[{place}]", part) for place, part in enumerate(value))
    elif inspect.isfunction(value):
        yield from ((name, part) for name, part in _referred(value) if part is not value)
    else:
        yield from ((f"{path}.{name}", part) for name, part in getattr(value, "__dict__", {}).items())


def _kind(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return prefix + kind.__qualname__
