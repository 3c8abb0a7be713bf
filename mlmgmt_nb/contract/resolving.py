"""Resolve the types of structs while one thread runs.

msgspec resolves the annotations of a struct when it first decodes one. Another thread that decodes the same type
meanwhile sees it half done, and the process ends with a segmentation fault (msgspec 0.22). Every type that several
threads decode is therefore resolved when its module is imported.
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
