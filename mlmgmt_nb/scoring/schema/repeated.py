"""Find keys that a JSON object has twice: programs disagree on which counts, and decoders do not report them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

__all__ = ["repeated_argument", "repeated_key"]


def repeated_key(text: bytes) -> str | None:
    """Return a key that an object has twice at any depth; None if there is none.

    Args:
        text: valid JSON.

    Raises:
        RecursionError: the text is nested too deeply.
    """
    repeated: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        repeated.extend(_repeated(key for key, _ in pairs))

    _decoded(text, collect)
    return _shown(repeated[0]) if repeated else None


def repeated_argument(text: bytes, names: Collection[str]) -> str | None:
    """Return a key that the outermost object has twice. Cheap, unless the text has one of the names more than once.

    Args:
        text: a valid JSON object.
        names: all of its keys.
    """
    if text.count(b":") == len(names):  # a colon for each name: the object has no other member
        return None
    if b"\\u" not in text and all(text.count(b'"%b"' % name.encode()) < 2 for name in names):
        return None
    keys: list[str] = _decoded(text, lambda pairs: [key for key, _ in pairs])
    return next(map(_shown, _repeated(keys)), None)


def _decoded(text: bytes, collect: Any) -> Any:
    # Numbers are not converted: Python refuses very long ones.
    return json.loads(text, object_pairs_hook=collect, parse_int=str, parse_float=str)


def _repeated(keys: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [key for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]


def _shown(key: str) -> str:
    """Return a key in a form that fits into any response: of bounded length and without lone surrogates."""
    return key[:100].encode(errors="replace").decode()
