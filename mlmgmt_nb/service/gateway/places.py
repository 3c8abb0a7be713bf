"""The places of a deployment for requests, which callers and copies of requests share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

__all__ = ["Places"]

_PLACE_SECONDS = 5.0
"""Maximum seconds that a caller waits for the place of a copy."""
_SETTLING_SECONDS = 2.0
"""Seconds without copies at the beginning: callers still have connections to the replicas then, which are not counted
here.
"""


class Places:
    """The places of the deployment that serves, which refuses more requests at a time.

    One copy at a time is answered there, in a place that is free. A caller who needs that place meanwhile waits for it
    instead of being refused, so that copies are also answered while callers use all places.
    """

    def __init__(self) -> None:
        self._callers = 0
        self._begin_at = time.monotonic() + _SETTLING_SECONDS
        self._one_copy = asyncio.Semaphore(1)
        self._copy_ended = asyncio.Event()
        self._caller_left = asyncio.Event()
        self._copy_ended.set()

    @contextlib.asynccontextmanager
    async def caller(self, places: int) -> AsyncIterator[None]:
        """Take a place for a caller; wait for the one of a copy if all others are taken."""
        self._callers += 1  # before it waits, so that no further copy takes that place
        try:
            if self._callers >= places and not self._copy_ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PLACE_SECONDS):
                        await self._copy_ended.wait()
            yield
        finally:
            self._callers -= 1
            self._caller_left.set()

    @contextlib.asynccontextmanager
    async def copy(self, places: int) -> AsyncIterator[None]:
        """Wait for a place for a copy, and take it."""
        async with self._one_copy:
            if self._begin_at > time.monotonic():
                await asyncio.sleep(self._begin_at - time.monotonic())
            while self._callers >= places:
                self._caller_left.clear()
                await self._caller_left.wait()
            self._copy_ended.clear()
            try:
                yield
            finally:
                self._copy_ended.set()
