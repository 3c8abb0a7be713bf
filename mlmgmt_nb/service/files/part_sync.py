"""Write the parts of an upload to the disk while further parts arrive.

Otherwise the last part has to wait until all bytes of the upload are on the disk.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["PartSync"]

_THREADS = 8
_MOST_UPLOADS = 64


class PartSync:
    """The parts that are being written, at most one for each upload. Use it in the event loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sync")
        self._started: dict[str, Future[None]] = {}

    def start(self, digest: str, descriptor: int) -> None:
        """Start to write what a file has received to the disk."""
        succeeded = [each for each, future in self._started.items() if future.done() and not future.exception()]
        for each in succeeded:
            del self._started[each]
        if len(self._started) < _MOST_UPLOADS:  # of clients that did not return, after errors of the disk
            self._started[digest] = self._threads.submit(_sync, os.dup(descriptor))

    async def finish(self, digest: str) -> None:
        """Wait until the parts for which `start` was called are on the disk.

        Raises:
            OSError: they could not be written. The operating system does not report that again, so the bytes that were
                received until then must not be used.
        """
        started = self._started.get(digest)
        if started is None:
            return
        try:
            await asyncio.shield(asyncio.wrap_future(started))
        finally:
            if started.done():
                self._started.pop(digest, None)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
