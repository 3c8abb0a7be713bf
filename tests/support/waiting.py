"""The one way in which tests wait: for a condition, to a deadline that a loaded machine meets as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

__all__ = ["DEADLINE", "eventually", "eventually_in_loop"]

DEADLINE = 60.0
"""Seconds after which a test fails that waits for something. No test gets faster or slower by it."""

T = TypeVar("T")


def eventually(look: Callable[[], T | None], timeout: float = DEADLINE, what: str = "it") -> T:
    """Return the first true value that `look` returns; fail after `timeout` seconds without one.

    Args:
        look: called again and again, in this thread.
        timeout: seconds.
        what: the event that did not happen, for the message of the failure.
    """
    began = time.monotonic()
    while not (seen := look()):
        waited = time.monotonic() - began
        if waited > timeout:
            pytest.fail(f"{what} did not happen within {timeout} s; last seen: {seen!r}")
        # Looks take time from what is awaited: after a while they are less frequent.
        time.sleep(min(0.02 + waited / 20, 0.1))
    return seen


async def eventually_in_loop(look: Callable[[], T | None]) -> T:
    """Return the first true value that `look` returns, and let the other tasks of the event loop run until then."""
    deadline = time.monotonic() + DEADLINE
    while not (seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"it did not happen within {DEADLINE} s; last seen: {seen!r}")
        await asyncio.sleep(0.001)
    return seen
