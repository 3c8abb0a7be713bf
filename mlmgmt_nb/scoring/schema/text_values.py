"""Values of the standard library that JSON lacks: dates, times, time spans and bytes, which are text, and decimals."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

__all__ = ["OBJECT_TYPES", "TEXT_TYPES", "TextType", "type_of_objects"]

_SPACE = re.compile(r"\s+(?=[+-]\d|Z$)")  # files of 2017 have a space before the zone


class TextType(NamedTuple):
    """A type that is text in JSON.

    Attributes:
        kind: the type.
        form: the format in Swagger.
        words: the description, for messages.
        read: converts text to a value; raises ValueError.
        accepted: types of JSON values, with that of null.
    """

    kind: type
    form: str
    words: str
    read: Callable[[Any], Any]
    accepted: frozenset[type] = frozenset({str, type(None)})


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _span(text: str) -> timedelta:
    from mlmgmt_nb.scoring.schema.times import rounded, span_seconds

    return timedelta(microseconds=int(rounded(span_seconds(text), 6) * 10**6))


def _decimal(value: str | float) -> Decimal:
    """Return the shortest decimal that the number stands for, because JSON's numbers are read as doubles."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a decimal number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not finite")
    return number


TEXT_TYPES = {
    "datetime": TextType(
        datetime,
        "date-time",
        "a date and time (ISO 8601 text)",
        lambda text: datetime.fromisoformat(_SPACE.sub("", text)),
    ),
    "date": TextType(date, "date", "a date (ISO 8601 text)", date.fromisoformat),
    "time": TextType(time, "time", "a time (ISO 8601 text)", lambda text: time.fromisoformat(_SPACE.sub("", text))),
    "timedelta": TextType(timedelta, "timedelta", "a time span (ISO 8601 text)", _span),
    "bytes": TextType(bytes, "byte", "bytes (Base64 text)", _bytes),
    "bytearray": TextType(bytearray, "byte", "bytes (Base64 text)", lambda text: bytearray(_bytes(text))),
}
"""By the name of the type."""

OBJECT_TYPES = {
    **TEXT_TYPES,
    "Decimal": TextType(Decimal, "double", "a number", _decimal, frozenset({int, float, str, type(None)})),
}
"""Types of the elements of object columns and arrays, by name; elements of other types are passed as they are in
JSON."""


def type_of_objects(values: Iterable[Any]) -> str | None:
    """Return the name in `OBJECT_TYPES` if all values are of that type or missing; None otherwise."""
    kinds = {type(value) for value in values if value is not None and not _is_nan(value)}
    names = [name for name, text in OBJECT_TYPES.items() if kinds == {text.kind}]
    return names[0] if names else None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
