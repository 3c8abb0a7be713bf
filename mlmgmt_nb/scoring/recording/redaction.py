"""Replace the values of fields by their names, wherever they are in a JSON text.

The form stays: text becomes `***`, numbers 0, booleans false, lists keep their length, objects become empty. So a
redacted request can still be replayed. Tables in the form `split` are redacted by their columns, and JSON in a text, as
clients of 2017 send it, is redacted too. Values without a name, as in a list of lists, cannot be found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["Redactor"]

_MASK = "***"


class Redactor:
    """Redacts fields.

    Args:
        names: names of the fields, regardless of case.
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = list(names)
        self._names = frozenset(name.casefold() for name in given)
        # A text without these bytes has no such field: not even one whose name is escaped, or a column of a table.
        self._is_plain = all(map(str.isascii, given))  # casefold() may return only ASCII: "ß" becomes "ss"
        choices = "|".join(re.escape(name) for name in self._names).encode("ascii", "replace")
        self._trace = re.compile(b'"(?:%b)"' % choices, re.IGNORECASE)
        self._scalar = re.compile(
            b'("(?:%b)"\\s*:\\s*)("[^"]*"|-?[0-9.eE+-]+|true|false|null)' % choices, re.IGNORECASE
        )

    def redact(self, content: bytes) -> tuple[bytes | None, bool]:
        """Return the content without the values of the fields, and whether there were any.

        Content that is not JSON cannot be redacted: then None is returned in its place.
        """
        try:
            if self._is_plain and b"\\" not in content and b'"columns"' not in content.lower():
                count = len(self._trace.findall(content))
                cleaned, found = self._scalar.subn(_masked_scalar, content)
                if found == count:  # every one of them is the name of a scalar
                    msgspec.json.decode(cleaned, type=msgspec.Raw)  # only checks that it is JSON
                    return cleaned, bool(count)
            return self._redacted(content)
        except (ValueError, RecursionError):
            return None, True

    def _redacted(self, content: bytes) -> tuple[bytes, bool]:
        found = _decoded(content)
        cleaned = self._cleaned(found)
        return (content, False) if cleaned == found else (msgspec.json.encode(cleaned), True)

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return [self._cleaned(item) for item in value]
        if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
            return self._text(value)
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        cleaned = {
            name: _masked(inner) if name.casefold() in self._names else self._cleaned(inner)
            for name, inner in value.items()
        }
        columns, rows = cleaned.get("columns"), cleaned.get("data")
        if isinstance(columns, list) and isinstance(rows, list):
            hidden = {place for place, name in enumerate(columns) if str(name).casefold() in self._names}
            cleaned["data"] = [_without(row, hidden) for row in rows]
        return cleaned

    def _text(self, value: str) -> str:
        """Return a text that may be JSON itself."""
        try:
            found = _decoded(value)
        except (ValueError, RecursionError):
            return value
        cleaned = self._cleaned(found)
        return value if cleaned == found else json.dumps(cleaned, ensure_ascii=False)


def _decoded(content: bytes | str) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return json.loads(content)  # accepts NaN and lone surrogates too


def _masked_scalar(match: re.Match[bytes]) -> bytes:
    name, value = match.groups()
    kinds = {b'"': b'"***"', b"t": b"false", b"f": b"false", b"n": b"null"}
    return bytes(name + kinds.get(value[:1].lower(), b"0"))


def _masked(value: Any) -> Any:
    match value:
        case str():
            return _MASK
        case bool():
            return False
        case int() | float():
            return 0
        case list():
            return [_masked(item) for item in value]
        case dict():
            return {}
    return None


def _without(row: Any, hidden: set[int]) -> Any:
    """Return a row of a table without the values at some places."""
    if not isinstance(row, list):
        return row
    return [_masked(value) if place in hidden else value for place, value in enumerate(row)]
