"""Mark work that only looks, so that it does not start an embedded service that was stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["is_only_looking", "only_looking"]

_looking = ContextVar("mlmgmt_only_looking", default=False)


@contextlib.contextmanager
def only_looking() -> Iterator[None]:
    """Mark what is done in this block: a panel that is open, an operation that is watched, a log that is followed.

    A service that crashed is brought back all the same. Also a decorator: `@only_looking()`.
    """
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def is_only_looking() -> bool:
    """Whether this thread is in such a block."""
    return _looking.get()
