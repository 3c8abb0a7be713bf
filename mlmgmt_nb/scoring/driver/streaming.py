"""Stream answers part by part, as a generator of the driver yields them.

The driver's thread (or its event loop) takes the parts and hands them to the loop that sends them; it stays at most a
few parts ahead of the caller. The first part is taken before anything is sent, so if the driver fails before that, the
answer is 500 as usual. If the driver fails later, the answer breaks off, which the caller can detect.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from mlmgmt_nb.scoring.encoding.encoder import encode_value
from mlmgmt_nb.scoring.errors import RequestError, driver_failure

__all__ = ["LAZY", "Stream", "run_through", "stream_async", "stream_of"]

LAZY = (GeneratorType, AsyncGeneratorType, CoroutineType)
"""Types of results that are computed lazily."""
_AHEAD = 16
"""Number of parts that the driver may be ahead of the caller."""
_EVENTS = ("data:", "event:", "id:", "retry:", ":")
_END = object()


class Stream:
    """An answer in parts.

    Args:
        parts: an iterator of the remaining parts.
        first: the part that was taken already.
        status_code: the HTTP status of the answer.
        headers: the headers of the answer.

    Attributes:
        ended: all parts have been taken.
        failure: the reason if the answer was broken off.
    """

    def __init__(
        self,
        parts: Iterator[Any] | AsyncIterator[Any],
        first: Any,
        status_code: int = 200,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        self.status_code = status_code
        self.headers = [("content-type", _media_type(first))] if headers is None else headers
        self.ended = first is _END
        self.failure: RequestError | None = None
        self._parts = parts
        self._first = b"" if first is _END else encode_part(first)
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()  # None after the last part
        if self.ended:
            self._arrived.put_nowait(None)
        self._room = threading.Semaphore(_AHEAD)
        self._is_closed = False
        self._more_room: Callable[[], object] = self._room.release

    # called where the driver runs

    def pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take all parts, in the driver's thread, and hand them to the loop that sends them."""
        assert not isinstance(self._parts, AsyncIterator)
        try:
            while not self._is_closed:
                part = next(self._parts, _END)
                if part is _END:
                    break
                loop.call_soon_threadsafe(self._arrived.put_nowait, encode_part(part))
                self._room.acquire()
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            self.failure = _failure(error)
        self._finish(loop, getattr(self._parts, "close", None))

    async def pump_async(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do the same as `pump`, in the driver's event loop."""
        if not isinstance(self._parts, AsyncIterator):
            await asyncio.to_thread(self.pump, loop)
            return
        own, room = asyncio.get_running_loop(), asyncio.Semaphore(_AHEAD)
        self._more_room = lambda: own.call_soon_threadsafe(room.release)
        try:
            while not self._is_closed:
                part = await anext(self._parts, _END)
                if part is _END:
                    break
                loop.call_soon_threadsafe(self._arrived.put_nowait, encode_part(part))
                await room.acquire()
            if isinstance(self._parts, AsyncGeneratorType):
                await self._parts.aclose()
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            self.failure = _failure(error)
        self._finish(loop, None)

    def _finish(self, loop: asyncio.AbstractEventLoop, close: Callable[[], object] | None) -> None:
        try:
            if close is not None:
                close()
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises at its end
            self.failure = self.failure or _failure(error)
        self.ended = True
        loop.call_soon_threadsafe(self._arrived.put_nowait, None)

    # called where the stream is sent

    async def sent(self, patience: float) -> AsyncIterator[bytes]:
        """Yield the parts to send. The last part may come long before the driver's generator is closed.

        Args:
            patience: time limit of each part in seconds.

        Raises:
            RequestError: the driver failed, or took too long.
        """
        yield self._first
        # Not until `ended`: the driver may have ended before its last parts have arrived here.
        while True:
            try:
                part = await asyncio.wait_for(self._arrived.get(), patience)
            except TimeoutError:
                message = f"run() yielded no further part within {patience:g} seconds"
                raise RequestError(504, "Timeout", message) from None
            if part is None:
                break
            self._more_room()
            yield part
        if self.failure is not None:
            raise self.failure
        if self._is_closed:
            raise RequestError(503, "ReplicaEnds", "this replica is stopping. Try again")

    def close(self) -> None:
        """Let the driver's generator end because its parts are no longer sent."""
        self._is_closed = True
        self._more_room()
        self._arrived.put_nowait(None)


def stream_of(parts: Any, status_code: int = 200, headers: list[tuple[str, str]] | None = None) -> Stream:
    """Return a stream whose first part has been taken, from a generator of either kind or an iterable."""
    taken = run_through(parts) if isinstance(parts, AsyncIterator) else iter(parts)
    return Stream(taken, next(taken, _END), status_code, headers)


async def stream_async(parts: Any, status_code: int = 200, headers: list[tuple[str, str]] | None = None) -> Stream:
    """Do the same as `stream_of`, in the driver's event loop."""
    if not isinstance(parts, AsyncIterator):
        return await asyncio.to_thread(stream_of, parts, status_code, headers)
    return Stream(parts, await anext(parts, _END), status_code, headers)


def run_through(parts: AsyncIterator[Any]) -> Iterator[Any]:
    """Yield the parts of an asynchronous generator in a thread without an event loop."""
    with asyncio.Runner() as runner:
        while (part := runner.run(_next(parts))) is not _END:
            yield part


async def _next(parts: AsyncIterator[Any]) -> Any:
    return await anext(parts, _END)


def encode_part(part: Any) -> bytes:
    """Return a part as bytes: text as UTF-8, other values as a line of JSON."""
    if isinstance(part, str):
        return part.encode()
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    return encode_value(part) + b"\n"


def _media_type(first: Any) -> str:
    """Return the media type that the first part indicates: events, text, bytes, or lines of JSON."""
    if isinstance(first, (bytes, bytearray, memoryview)):
        head = bytes(first[:8]).decode("latin1")
        return "text/event-stream" if head.startswith(_EVENTS[:2]) else "application/octet-stream"
    if isinstance(first, str) or first is _END:
        is_event = isinstance(first, str) and first.startswith(_EVENTS)
        return "text/event-stream" if is_event else "text/plain; charset=utf-8"
    return "application/x-ndjson"


def _failure(error: BaseException) -> RequestError:
    return error if isinstance(error, RequestError) else driver_failure(error)
