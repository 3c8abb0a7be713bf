"""Walk through a value that becomes JSON: dicts, lists and leaves; a converter handles all other values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

__all__ = ["ENCODER", "SCALARS", "JsonFormError", "Walk", "has_seconds", "type_name", "whole_offset"]

ENCODER = msgspec.json.Encoder(decimal_format="number")
"""Writes the result of a walk."""

SCALARS = frozenset({str, int, float, bool, type(None)})
# the encoder writes these itself
_LEAVES = SCALARS | {date, timedelta, UUID, bytes, bytearray}


class JsonFormError(TypeError):
    """A value has no JSON form.

    Args:
        problem: names the value and says why, such as `object, which has no JSON form`.
        fix: a sentence with the solution.

    Attributes:
        path: the path of the value within the written one, such as `[0].age`; empty for the whole.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix
        self.path = ""

    def at(self, root: str) -> str:
        """Return the path with a name in front; empty for the whole."""
        return f"{root}{self.path}" if self.path else ""


class Walk:
    """One walk through a value; calling it converts a part.

    Args:
        convert: converts a part that is neither a leaf nor a dict, list or tuple; it may call the walk.
    """

    def __init__(self, convert: Callable[[Any, Walk], Any]) -> None:
        self._convert = convert
        self._open: set[int] = set()

    def __call__(self, value: Any) -> Any:
        """Return a part as builtins.

        Raises:
            JsonFormError: the part has no JSON form; the path begins at this part.
        """
        if type(value) in _LEAVES:
            return value
        if id(value) in self._open:
            raise JsonFormError(f"a {type_name(value)} that contains itself")
        self._open.add(id(value))
        try:
            if type(value) is dict:
                return self.members(value)
            if type(value) in (list, tuple):
                return self.items(value)
            return self._convert(value, self)
        finally:
            self._open.discard(id(value))

    def at(self, step: str, value: Any) -> Any:
        """Return a part that is one step further down the path."""
        try:
            return self(value)
        except JsonFormError as error:
            error.path = step + error.path
            raise

    def items(self, values: Iterable[Any], suffix: str = "") -> list[Any]:
        """Return the parts of a list; `suffix` follows their position in the path."""
        items = list(values)
        if _LEAVES.issuperset(map(type, items)):
            return items
        return [self.at(f"[{place}]{suffix}", item) for place, item in enumerate(items)]

    def members(self, mapping: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the parts of an object.

        Raises:
            JsonFormError: two keys are the same text, or a part has no JSON form.
        """
        made: dict[str, Any] = {}
        for key, item in mapping.items():
            text = key if type(key) is str else self.key_text(key)
            if text in made:
                other = next(k for k in mapping if self.key_text(k) == text)
                raise JsonFormError(
                    f"a {type_name(mapping)} whose keys {other!r} and {key!r} are both {json.dumps(text)} in JSON",
                    "Rename one of them.",
                )
            made[text] = self.at(f".{text}", item)
        return made

    def key_text(self, key: Any) -> str:
        """Return the text of a key of an object.

        Raises:
            JsonFormError: the key has no JSON form.
        """
        if isinstance(key, Enum):
            return self.key_text(key.value)
        if isinstance(key, str):
            return str.__str__(key)
        if isinstance(key, tuple):
            return str(key)
        try:
            plain = Walk(self._convert)(key)
            if isinstance(plain, str):
                return plain
            text = ENCODER.encode(plain).decode()
        except JsonFormError as error:
            raise JsonFormError(f"a key that is {error.problem}") from None
        except RecursionError:
            raise JsonFormError("a key that is nested too deeply") from None
        except ValueError:
            raise JsonFormError("a key that is an integer with too many digits") from None
        if text[:1] in ("[", "{"):
            raise JsonFormError(f"a key that is {type_name(key)}, which has no JSON form")
        return text.strip('"')


def type_name(value: Any) -> str:
    """Return the name of a value's type, for messages."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def whole_offset(value: datetime) -> datetime:
    """Return the same time with an offset in whole minutes, as ISO 8601 requires."""
    try:
        return value.astimezone(UTC) if has_seconds(value.utcoffset()) else value
    except OverflowError:
        raise JsonFormError(f"the time {value}, which is beyond the last or first year in UTC") from None


def has_seconds(offset: timedelta | None) -> bool:
    """Return whether an offset from UTC is not in whole minutes."""
    return offset is not None and offset % timedelta(minutes=1) != timedelta()
