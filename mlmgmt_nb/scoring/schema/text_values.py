"""Values that are text in JSON: dates, times, time spans and bytes of the standard library."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

__all__ = ["TEXT_TYPES", "TextType"]

_SPACE = re.compile(r"\s+(?=[+-]\d|Z$)")  # files of 2017 have a space before the zone


class TextType(NamedTuple):
    """A type that is text in JSON.

    Attributes:
        kind: the type.
        form: the format in Swagger.
        words: the description, for messages.
        read: converts text to a value; raises ValueError.
    """

    kind: type
    form: str
    words: str
    read: Callable[[str], Any]


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _span(text: str) -> timedelta:
    from mlmgmt_nb.scoring.schema.times import span_seconds

    return timedelta(microseconds=round(span_seconds(text) * 10**6))


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
