"""The encoding of request bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

__all__ = ["encoded"]

_WITH_NULLS = frozenset({"environment", "secrets"})
"""Properties in which null has a meaning of its own: it removes a variable."""
_UNSET = (None, msgspec.NODEFAULT)


def encoded(body: object) -> bytes:
    """Return a body, a type of the contract, as JSON; properties that are not set are left out.

    None is a value, not a property that is not set, if the property has another default.
    """
    return msgspec.json.encode(_without_unset(body))


def _without_unset(value: Any) -> Any:
    if isinstance(value, (msgspec.Struct, dict)):
        return {name: item if name in _WITH_NULLS else _without_unset(item) for name, item in _set_items(value)}
    if isinstance(value, list):
        return [_without_unset(item) for item in value]
    return value


def _set_items(value: msgspec.Struct | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((name, item) for name, item in value.items() if item is not None)
        return
    for field in msgspec.structs.fields(value):
        item = getattr(value, field.name)
        if item is not None or field.default not in _UNSET:
            yield field.encode_name, item
