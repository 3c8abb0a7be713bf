"""A connection to a service's own port, for one HTTP exchange at a time, written and read as a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools
import msgspec

__all__ = ["ConnectionLostError", "Head", "ResponseEnd", "Upstream"]

_MOST_WAITING = 2**18
"""Maximum bytes of a response that are buffered for a slow client; the rest stays with the sender."""

Header = tuple[bytes, bytes]


class Head(msgspec.Struct, frozen=True):
    """Status and headers of a response, unchanged."""

    status: int
    headers: list[Header]


class ResponseEnd(msgspec.Struct, frozen=True):
    """The response is complete."""


class ConnectionLostError(Exception):
    """The connection ended before the response did."""


class Upstream(asyncio.Protocol):
    """A connection. `begin` an exchange, `write` its request, and call `next` until the response is complete.

    Args:
        on_ended: called when the connection has ended, whichever side ended it.
    """

    def __init__(self, on_ended: Callable[[Upstream], None]) -> None:
        self.opened = asyncio.get_running_loop().time()
        self.ended = False
        self._on_ended = on_ended
        self._events: deque[Head | bytes | ResponseEnd] = deque()
        self._waiting_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._until_end = False
        self._complete = True  # no exchange has begun

    def begin(self, *, head_only: bool) -> None:
        """Prepare for the next response; `head_only` if it has no body, whatever its headers say."""
        self._events.clear()
        self._head_only = head_only
        self._headers: list[Header] = []
        self._complete = self._keeps = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def reusable(self) -> bool:
        """Return whether another exchange may follow."""
        return self._keeps and not self.ended

    @property
    def at_end(self) -> bool:
        """Return whether the last result of `next` was the end of the body."""
        return bool(self._events) and isinstance(self._events[0], ResponseEnd)

    async def write(self, data: bytes) -> None:
        """Send a part of the request; wait while the other side does not accept it.

        Raises:
            ConnectionLostError: the connection has ended.
        """
        if self.ended:
            raise ConnectionLostError
        self._transport.write(data)
        if self._writable is not None:
            await self._writable

    async def next(self) -> Head | bytes | ResponseEnd:
        """Return the next part of the response.

        Raises:
            ConnectionLostError: the connection ended before the next part.
        """
        while not self._events:
            if self.ended:
                raise ConnectionLostError
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        event = self._events.popleft()
        if isinstance(event, bytes):
            self._waiting_bytes -= len(event)
            if self._waiting_bytes <= _MOST_WAITING:
                self._transport.resume_reading()
        return event

    def close(self) -> None:
        """End the connection immediately, so that the other side notices."""
        self._transport.abort()

    def _add(self, event: Head | bytes | ResponseEnd) -> None:
        self._events.append(event)
        self._notify()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _drop(self) -> None:
        """Close a connection with an unsolicited response, which must not become the response to the next request."""
        self.ended = True
        self._transport.abort()

    # callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's classes do not derive from it

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self._drop()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.abort()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, error: Exception | None) -> None:
        if error is None and self._until_end and not self._complete:
            self.on_message_complete()
        self.ended = True
        self.resume_writing()
        self._notify()
        self._on_ended(self)

    # callbacks of the parser

    def on_message_begin(self) -> None:
        if self._complete:
            self._drop()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # informational: the final response follows
            return
        self._until_end = not any(name in {b"content-length", b"transfer-encoding"} for name, _ in self._headers)
        self._add(Head(status, self._headers))
        if self._head_only:
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._waiting_bytes += len(body)
        if self._waiting_bytes > _MOST_WAITING:
            self._transport.pause_reading()
        self._add(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._headers = []
        elif not self._complete:
            self._complete = True
            self._keeps = self._parser.should_keep_alive() and not self._head_only
            self._add(ResponseEnd())
