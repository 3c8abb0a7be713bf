"""Ids of requests: those that callers send, if they are well-formed, or new ones."""

from __future__ import annotations

import secrets
from itertools import count

__all__ = ["RequestIds", "valid_id"]

_ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")


class RequestIds:
    """A source of ids that look like UUIDs at a tenth of the cost: the first is random, and the others count up from
    it."""

    def __init__(self) -> None:
        self._prefix = (
            f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(2)[1:]}-a{secrets.token_hex(2)[1:]}"
        )
        self._counter = count(secrets.randbits(40))

    def choose(self, given: bytes) -> str:
        """Return the id that a caller sent if it is valid, otherwise a new one."""
        if valid := valid_id(given):
            return valid.decode("ascii")
        return f"{self._prefix}-{next(self._counter) & 0xFFFFFFFFFFFF:012x}"


def valid_id(given: bytes) -> bytes:
    """Return an id that can go into headers and logs unchanged; empty if this one cannot."""
    return given if given and len(given) <= 128 and _ID_CHARACTERS.issuperset(given) else b""
