"""NumPy arrays and scalars as lists and numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from mlmgmt_nb.scoring.encoding.walk import JsonFormError, Walk

__all__ = ["convert", "from_array"]

# unit -> its seconds, as a fraction
_SECONDS = {
    "W": (604800, 1),
    "D": (86400, 1),
    "h": (3600, 1),
    "m": (60, 1),
    "s": (1, 1),
    "ms": (1, 10**3),
    "us": (1, 10**6),
    "ns": (1, 10**9),
    "ps": (1, 10**12),
    "fs": (1, 10**15),
    "as": (1, 10**18),
}
_CALENDAR = {"Y": "years", "M": "months"}


def convert(value: Any, walk: Walk) -> Any:
    """Return a NumPy value as builtins; NotImplemented for other values.

    Raises:
        JsonFormError: the value has no JSON form.
    """
    if isinstance(value, np.ndarray):
        return from_array(value, walk)
    if isinstance(value, np.generic):
        return from_array(np.asarray(value), walk)
    return str(value) if isinstance(value, np.dtype) else NotImplemented


def from_array(array: Any, walk: Walk) -> Any:
    """Return an array as nested lists, or as its element if it has no dimensions."""
    if isinstance(array, np.ma.MaskedArray):
        return _masked(array, walk)
    kind = array.dtype.kind
    if array.dtype.names:
        return _records(array, walk)
    if kind == "c":
        what = "an array of complex numbers, which have" if array.ndim else "a complex number, which has"
        raise JsonFormError(f"{what} no JSON form", "Use its real and imaginary parts.")
    if array.dtype.char == "g":
        return _long_doubles(array)
    if kind == "S":
        return _texts(array)
    if kind in "mM":
        return _times(array).tolist()
    # objects, and missing values of NumPy's text type, can be anything
    return walk(array.tolist()) if kind in "OT" else array.tolist()


def _masked(array: Any, walk: Walk) -> Any:
    values = np.empty(array.shape, dtype=object)
    flat = from_array(array.data.reshape(-1), walk)
    hidden = np.ma.getmaskarray(array).reshape(-1)
    if hidden.dtype.names:  # a structured array hides its fields
        flat = [
            {name: None if masked[name] else item for name, item in row.items()}
            for row, masked in zip(flat, hidden, strict=True)
        ]
        hidden = np.zeros(len(flat), dtype=bool)
    for place, item in enumerate(flat):
        values.flat[place] = None if hidden[place] else item
    return values.tolist()


def _records(array: Any, walk: Walk) -> Any:
    """Return a structured array as dicts."""
    flat = array.reshape(-1)
    columns = [from_array(flat[name], walk) for name in flat.dtype.names]
    rows = np.empty(array.shape, dtype=object)
    for place, row in enumerate(zip(*columns, strict=True)):
        rows.flat[place] = dict(zip(flat.dtype.names, row, strict=True))
    return rows.tolist()


def _long_doubles(array: Any) -> Any:
    with np.errstate(over="ignore"):
        doubles = array.astype(float)
    if (np.isinf(doubles) & ~np.isinf(array)).any():
        raise JsonFormError("a longdouble that is beyond the range of JSON's numbers")
    return doubles.tolist()


def _texts(array: Any) -> Any:
    try:
        return np.char.decode(array, "utf-8").tolist()
    except UnicodeDecodeError:
        raise JsonFormError(
            f"data of type {array.dtype} that is not UTF-8 text", "Use bytes, which are sent as Base64."
        ) from None


def _times(array: Any) -> Any:
    """Return dates as ISO 8601 text, time spans as `_span` does, not-a-time as None."""
    texts = np.empty(array.shape, dtype=object)
    there = ~np.isnat(array)
    values = array[there]
    if not len(values):
        return texts
    if array.dtype.kind == "M":
        texts[there] = [_signed(text) for text in np.datetime_as_string(values).tolist()]
    else:
        unit, step = np.datetime_data(array.dtype)
        texts[there] = [_span(count * step, unit) for count in values.astype("int64").tolist()]
    return texts


def _signed(date: str) -> str:
    """Return a date with a sign before a year of more than four digits, as ISO 8601 requires: 20171001 is in 2017."""
    if date[0] == "-":  # NumPy pads years after 0 only
        year, separator, rest = date[1:].partition("-")
        return f"-{year:0>4}{separator}{rest}"
    return date if date[4:5] in ("-", "") else f"+{date}"


def _span(count: int, unit: str) -> float | str:
    """Return a time span in seconds; as text if a double is not exact, or if the unit has no fixed length."""
    if unit in _CALENDAR:
        return f"{count} {_CALENDAR[unit]}"
    if unit not in _SECONDS:
        raise JsonFormError("a timedelta64 without a unit, which has no JSON form")
    factor, parts = _SECONDS[unit]
    total = count * factor
    seconds = total / parts
    if Decimal(repr(seconds)) * parts == total:
        return seconds
    return f"{'-' if total < 0 else ''}PT{Decimal(abs(total)) / parts:f}S"
