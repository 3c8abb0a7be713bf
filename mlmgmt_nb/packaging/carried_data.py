"""Data that notebook code carries when it is pickled by value: the variables that it refers to, and their sizes."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from mlmgmt_nb.errors import UsageError

__all__ = ["MAX_CARRIED_BYTES", "check_carried_data", "is_by_value", "kind_of", "referred"]

MAX_CARRIED_BYTES = 100 * 2**20
"""Maximum size of a variable that code may carry. It allows lookup tables, but not training sets, which functions often
refer to by mistake: each replica would load them, and each deployment would send them.
"""

_MEASURED = 1000
"""Number of items from which the sizes of long frames and containers are estimated. Measuring all takes seconds."""


def check_carried_data(value: Any) -> None:
    """Check that a function, class or partial of the notebook does not refer to too much data, without pickling it.

    Raises:
        UsageError: a variable is too large. The message names it and its size.
    """
    if inspect.isfunction(value) and is_by_value(value):
        _check_size(f"the function {value.__name__}", referred(value))
    elif inspect.isclass(value) and is_by_value(value):
        _check_size(f"the class {value.__name__}", vars(value).items())
    elif isinstance(value, functools.partial):
        _check_size("the partial", _bound(value))


def referred(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the outer variables that a function or its nested functions refer to, and its default values."""
    function = model if inspect.isfunction(model) else getattr(model, "__func__", None)
    if function is None:
        return
    yield from inspect.getclosurevars(function).nonlocals.items()
    names = _global_names(function.__code__)
    yield from ((name, function.__globals__[name]) for name in sorted(names) if name in function.__globals__)
    yield from ((f"its default {place}", value) for place, value in enumerate(function.__defaults__ or ()))
    yield from (function.__kwdefaults__ or {}).items()


def kind_of(value: Any) -> str:
    """Return the type name of a value, for errors."""
    kind = type(value)
    prefix = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return prefix + kind.__qualname__


def is_by_value(code: Any) -> bool:
    """Return whether a function or class is defined in the notebook or inside a function, so is pickled by value."""
    name = code.__qualname__
    return code.__module__ == "__main__" or "<locals>" in name or name.endswith("<lambda>")


def _global_names(code: CodeType) -> set[str]:
    within = (_global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*within)


def _bound(partial: functools.partial[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the bound arguments of a partial function."""
    yield from ((f"its argument {place}", value) for place, value in enumerate(partial.args))
    yield from partial.keywords.items()


def _check_size(what: str, variables: Iterable[tuple[str, Any]]) -> None:
    for name, value in variables:
        size = _size(value, set())
        if size > MAX_CARRIED_BYTES:
            raise UsageError(
                f"model: {what} refers to {name}, a {kind_of(value)} of {size / 1e6:,.0f} MB, which it would contain",
                field="model",
                fix=f"Write {name} to a file that a driver reads, or use a smaller part of it.",
            )


def _size(value: Any, seen: set[int]) -> float:
    """Return the approximate bytes of frames, arrays, text, containers of these, and objects of notebook classes.

    Other objects count as 0, because the fitted state of a model may be large.
    """
    if id(value) in seen or inspect.ismodule(value) or inspect.isclass(value):
        return 0
    seen.add(id(value))
    if hasattr(value, "memory_usage") and hasattr(value, "head"):  # pandas
        return _size_of_frame(value)
    if hasattr(value, "estimated_size"):  # Polars
        return float(value.estimated_size())
    if isinstance(value, (str, bytes, bytearray)):
        return sys.getsizeof(value)
    if isinstance(value, dict):
        return _size_of_items(itertools.chain.from_iterable(value.items()), 2 * len(value), seen)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _size_of_items(value, len(value), seen)
    if hasattr(value, "nbytes"):
        return float(value.nbytes)
    if type(value).__module__ == "__main__":
        return sum(_size(part, seen) for part in getattr(value, "__dict__", {}).values())
    return 0


def _size_of_frame(frame: Any) -> float:
    """Return the bytes of a pandas DataFrame or Series. The size of its text is estimated from the first rows."""
    first, rows = _text_of(frame.head(1)), min(len(frame), _MEASURED)
    # The difference between two parts excludes the category levels, which every part contains.
    of_row = (_text_of(frame.head(rows)) - first) / max(1, rows - 1)
    return _used(frame, deep=False) + first + of_row * (len(frame) - 1)


def _text_of(frame: Any) -> float:
    return _used(frame, deep=True) - _used(frame, deep=False)


def _used(frame: Any, *, deep: bool) -> float:
    used = frame.memory_usage(deep=deep)
    return float(used.sum() if hasattr(used, "sum") else used)


def _size_of_items(items: Iterable[Any], count: int, seen: set[int]) -> float:
    first = list(itertools.islice(items, _MEASURED))
    measured = sum(max(_size(item, seen), 8) for item in first)
    return measured * count / max(1, len(first))
