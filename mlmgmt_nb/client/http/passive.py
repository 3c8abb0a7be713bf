"""Mark passive requests, which do not start an embedded service that was stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["is_passive", "passive"]

_looking = ContextVar("mlmgmt_passive", default=False)


@contextlib.contextmanager
def passive() -> Iterator[None]:
    """Mark the requests of this block as passive, such as those of an open panel or a followed log.

    A service that crashed is still restarted. Also a decorator: `@passive()`.
    """
    token = _looking.set(True)
    try:
        yield
    finally:
        _looking.reset(token)


def is_passive() -> bool:
    """Return whether this thread is in a `passive` block."""
    return _looking.get()
