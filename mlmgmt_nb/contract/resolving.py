"""Resolve the types of structs while a single thread runs.

msgspec resolves the annotations of a struct when it first decodes the type. If another thread decodes the same type
meanwhile, it sees an incomplete state, and the process ends with a segmentation fault (msgspec 0.22). Therefore, types
that several threads decode are resolved when their module is imported.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["resolve", "resolve_all_of"]


def resolve(*kinds: Any) -> None:
    """Resolve types, and the types of their fields."""
    for kind in kinds:
        msgspec.json.Decoder(kind)


def resolve_all_of(base: type[msgspec.Struct]) -> None:
    """Resolve all subclasses of a struct."""
    for kind in base.__subclasses__():
        resolve(kind)
        resolve_all_of(kind)
