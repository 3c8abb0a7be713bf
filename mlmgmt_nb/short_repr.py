"""Short `repr`s of values with many properties: one line with the identifying properties."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["LONGEST", "ShortRepr", "cut", "short_repr"]

LONGEST = 300
"""Exclusive upper limit for the number of characters of a short `repr`."""

_LONGEST_VALUE, _LONGEST_URL = 60, 110


class ShortRepr:
    """Mixin with a short `repr`: the properties in `SHOWN` that have values, or all of them if `SHOWN` is empty."""

    __slots__ = ()

    SHOWN: Sequence[str] = ()

    def __repr__(self) -> str:
        return short_repr(self, self.SHOWN)

    def __rich_repr__(self) -> Any:
        yield from _properties(self, self.SHOWN)


def short_repr(value: Any, shown: Sequence[str] = ()) -> str:
    """Return the type and properties of a value in one line of fewer than `LONGEST` characters.

    Args:
        value: a struct, dataclass or named tuple.
        shown: the names of the properties; all properties if empty. Properties that the value lacks are omitted.
    """
    head = f"{type(value).__name__}("
    parts = list[str]()
    for name, given in _properties(value, shown):
        parts.append(f"{name}={cut(repr(given), _LONGEST_URL if name.endswith('uri') else _LONGEST_VALUE)}")
        if len(head) + len(", ".join(parts)) > LONGEST - len(", ...)"):
            parts[-1] = "..."
            break
    return f"{head}{', '.join(parts)})"


def cut(text: str, longest: int = _LONGEST_VALUE) -> str:
    """Return a text, shortened to at most `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _properties(value: Any, shown: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the properties that have a value."""
    for name in shown or _names(value):
        given = getattr(value, name, None)
        is_empty = isinstance(given, (str, tuple, list, dict)) and not given
        if given is not None and given is not False and not is_empty:
            yield name, given


def _names(value: Any) -> Sequence[str]:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value) if field.repr]
    names: Sequence[str] = getattr(value, "__struct_fields__", None) or value._fields
    return names
