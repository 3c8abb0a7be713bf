"""The rest of a large body, read from its socket by a thread instead of the event loop.

The event loop reads small parts, and each costs a parser, copies and a task. A thread that reads large parts into one
buffer costs half the CPU, and does not delay other requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["TAKE_BODY", "BodySocket", "BodyThreads"]

T = TypeVar("T")

TAKE_BODY = "take_body"
"""Key in a scope's `state` for the function that returns its `BodySocket`, or None if the event loop has to read it."""
_BUFFER_BYTES = 2**18  # larger buffers do not stay in the processor's cache between read, hash and write
_LEAST_BYTES = 2**17
"""Bytes to wait for before a read, unless fewer are missing."""
_LOOK_SECONDS = 1.0
_LINGER_SECONDS = 10.0


class BodySocket:
    """The rest of a body. The event loop no longer reads from the socket, and the response ends its connection.

    Args:
        connected: a duplicate of the socket; closed at the end.
        early: bytes of the body that were read before.
        missing: number of bytes that follow.
        is_ended: returns whether the connection was closed, such as for a slow client.

    Attributes:
        received: number of bytes read from the socket by this object.
    """

    def __init__(self, connected: socket.socket, early: bytes, missing: int, is_ended: Callable[[], bool]) -> None:
        self._socket = connected
        self._early = early
        self._missing = missing
        self._is_ended = is_ended
        self.received = 0

    @property
    def size(self) -> int:
        """Return the number of bytes until the end of the body."""
        return len(self._early) + self._missing

    def parts(self) -> Iterator[memoryview]:
        """Yield the bytes in parts, each valid until the next one. Must run in a thread.

        Raises:
            ConnectionResetError: the connection ended before the body did.
        """
        if self._early:
            early, self._early = self._early, b""
            yield memoryview(early)
        buffer = memoryview(bytearray(min(_BUFFER_BYTES, self._missing)))
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while self._missing:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(_LEAST_BYTES, self._missing))
            if poll.poll(_LOOK_SECONDS * 1000):
                with contextlib.suppress(BlockingIOError):
                    yield buffer[: self._read(buffer)]
            elif self._is_ended():
                raise ConnectionResetError("the connection was closed")

    def _read(self, buffer: memoryview) -> int:
        size = self._socket.recv_into(buffer[: self._missing])
        if not size:
            raise ConnectionResetError("the client disconnected")
        self._missing -= size
        self.received += size
        return size

    def discard(self) -> None:
        """Read and drop the rest for a limited time: a client that is still sending would not see the response."""
        until = time.monotonic() + _LINGER_SECONDS
        with contextlib.suppress(OSError):
            for _ in self.parts():
                if time.monotonic() > until:
                    return

    def close(self) -> None:
        self._socket.close()


class BodyThreads:
    """A limited number of threads for bodies: slow clients must not block the threads of other requests.

    Args:
        most: number of bodies that are read concurrently.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="body")

    @property
    def has_free(self) -> bool:
        """Return whether another body can be read now. Use this and `run` in the event loop only."""
        return self._free > 0

    async def run(self, read: Callable[[], T]) -> T:
        """Read a body in a thread."""
        self._free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, read)
        finally:
            self._free += 1
