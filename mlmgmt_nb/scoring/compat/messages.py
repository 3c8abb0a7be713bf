"""A whole request, and responses that the driver builds.

This module is light, because raw HTTP itself is loaded only if a driver uses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["RAW_MARK", "Answer", "Headers", "WholeRequest"]

RAW_MARK = "__mlmgmt_raw_http__"
"""Attribute of a `run` that takes the whole request."""


class Headers(dict[str, str]):
    """Headers by case-insensitive name."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        for name, value in pairs:
            key = name.title()
            super().__setitem__(key, f"{self[key]}, {value}" if key in self else value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.title())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.title())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header, or the default."""
        return super().get(name.title(), default)


class WholeRequest(NamedTuple):
    """A request for drivers that need more than its body.

    Attributes:
        method: GET, POST, ...
        path: the path of the URL, decoded.
        query: the part after the question mark.
        headers: pairs of name and value.
        data: the body.
        client: address and port of the caller.
        server: address and port of the listener.
    """

    method: str
    path: str
    query: bytes
    headers: list[tuple[str, str]]
    data: bytes
    client: tuple[str, int] | None = None
    server: tuple[str, int] | None = None


class Answer(NamedTuple):
    """An answer with status and headers from the driver."""

    status_code: int
    headers: list[tuple[str, str]]
    body: bytes
