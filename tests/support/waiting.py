"""Waiting in tests: for a condition, until a deadline that a loaded machine meets too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

__all__ = ["DEADLINE", "eventually", "eventually_in_loop"]

DEADLINE = 60.0
"""Seconds after which a waiting test fails. The value does not affect the time of tests that pass."""

T = TypeVar("T")


def eventually(look: Callable[[], T | None], timeout: float = DEADLINE, what: str = "it") -> T:
    """Return the first true value that `look` returns; fail if there is none within `timeout` seconds.

    Args:
        look: called repeatedly, in this thread.
        timeout: seconds.
        what: the event that did not happen, for the message of the failure.
    """
    began = time.monotonic()
    while not (seen := look()):
        waited = time.monotonic() - began
        if waited > timeout:
            pytest.fail(f"{what} did not happen within {timeout} s; last seen: {seen!r}")
        # Calls take CPU time from the code under test, so they become less frequent.
        time.sleep(min(0.02 + waited / 20, 0.1))
    return seen


async def eventually_in_loop(look: Callable[[], T | None]) -> T:
    """Return the first true value that `look` returns; the other tasks of the event loop run until then."""
    deadline = time.monotonic() + DEADLINE
    while not (seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"it did not happen within {DEADLINE} s; last seen: {seen!r}")
        await asyncio.sleep(0.001)
    return seen
