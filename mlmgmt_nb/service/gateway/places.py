"""The places of a deployment for requests, which callers and copies of requests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

__all__ = ["Places"]

_PLACE_SECONDS = 5.0
"""Maximum seconds that a caller waits for the place of a copy."""


class Places:
    """The places of the deployment that serves, which refuses more requests at a time.

    One copy at a time is answered there, while a place is free beside the one that it takes. A caller who needs that
    place meanwhile waits for it instead of being refused.
    """

    def __init__(self) -> None:
        self._callers = 0
        self._one_copy = asyncio.Semaphore(1)
        self._copy_ended = asyncio.Event()
        self._caller_left = asyncio.Event()
        self._copy_ended.set()

    async def wait(self, places: int) -> None:
        """Wait until a caller has a place that a copy takes now."""
        if self._callers >= places - 1 and not self._copy_ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PLACE_SECONDS):
                    await self._copy_ended.wait()

    @contextlib.contextmanager
    def caller(self) -> Iterator[None]:
        """Take a place for a caller."""
        self._callers += 1
        try:
            yield
        finally:
            self._callers -= 1
            self._caller_left.set()

    @contextlib.asynccontextmanager
    async def copy(self, places: int) -> AsyncIterator[None]:
        """Wait for a place for a copy, and take it."""
        async with self._one_copy:
            while self._callers > max(0, places - 2):
                self._caller_left.clear()
                await self._caller_left.wait()
            self._copy_ended.clear()
            try:
                yield
            finally:
                self._copy_ended.set()
