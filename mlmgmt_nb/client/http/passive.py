"""Mark passive requests, so that it does not start an embedded service that was stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["is_passive", "passive"]

_looking = ContextVar("mlmgmt_passive", default=False)


@contextlib.contextmanager
def passive() -> Iterator[None]:
    """Mark what is done in this block: a panel that is open, an operation that is watched, a log that is followed.

    A service that crashed is brought back all the same. Also a decorator: `@passive()`.
    """
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def is_passive() -> bool:
    """Whether this thread is in such a block."""
    return _looking.get()
