"""The encoding of request bodies."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["encoded"]

_WITH_NULLS = frozenset({"environment", "secrets"})
"""Properties in which null has a meaning of its own: it removes a variable."""
_NULLABLE = frozenset({"maxErrors", "maxP95"})
"""Properties with a default for which null means something else: no limit."""


def encoded(body: object) -> bytes:
    """Return a body, a type of the contract, as JSON; properties that are not set are left out."""
    return msgspec.json.encode(_without_nulls(msgspec.to_builtins(body)))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: item if name in _WITH_NULLS else _without_nulls(item)
            for name, item in value.items()
            if item is not None or name in _NULLABLE
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
