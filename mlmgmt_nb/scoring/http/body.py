"""Read the bodies of requests before they take a place: a caller that sends slowly does not block others.

Each body has a maximum size and the time limit of a request. All bodies together have a memory limit; beyond it, the
oldest incomplete body is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mlmgmt_nb.scoring.errors import ClientDisconnected, RequestError
from mlmgmt_nb.scoring.http.decoding import Inflater, most_encoded

__all__ = ["BodyReader", "LateBodyError", "Receive"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class LateBodyError(RequestError):
    """A body that did not arrive in time."""


class _BodyReading:
    """A body that is being read: its clock, its size so far, and the reason if it was given up."""

    __slots__ = ("clock", "fault", "size")

    def __init__(self, clock: asyncio.Timeout, fault: LateBodyError) -> None:
        self.clock = clock
        self.fault = fault
        self.size = 0

    def abort(self, fault: LateBodyError) -> None:
        if not self.clock.expired():
            self.fault = fault
            self.clock.reschedule(asyncio.get_running_loop().time())


class BodyReader:
    """A reader of request bodies with limits.

    Args:
        largest: maximum size of a decoded body in bytes.
        most_held: maximum size of all incomplete bodies together.
        seconds: time limit of each body.
    """

    def __init__(self, largest: int, most_held: int, seconds: float) -> None:
        self.largest = largest
        self._most_held = most_held
        self._seconds = seconds
        self._held = 0
        self._readings: dict[_BodyReading, None] = {}  # the oldest first

    async def read(self, receive: Receive, inflater: Inflater | None = None) -> bytes:
        """Return a body, decoded.

        Raises:
            RequestError: it is too large, too slow, or not encoded as declared.
            ClientDisconnected: its caller hung up.
        """
        late = LateBodyError(408, "RequestTimeout", f"the body did not arrive within {self._seconds:g} seconds")
        reading = _BodyReading(asyncio.timeout(self._seconds), late)
        try:
            async with reading.clock:
                self._readings[reading] = None
                return await self._collect(reading, receive, inflater)
        except TimeoutError:
            raise reading.fault from None
        finally:
            self._readings.pop(reading, None)
            self._held -= reading.size

    def abandon(self) -> int:
        """Give up all incomplete bodies because the replica is stopping; return their number."""
        for reading in self._readings:
            reading.abort(LateBodyError(503, "ReplicaEnds", "this replica is stopping. Try again", headers=_SOON))
        return len(self._readings)

    def too_large(self) -> RequestError:
        """Return the refusal of a body that is larger than the largest."""
        message = f"the body is larger than {self.largest} bytes, the limit of this service"
        return RequestError(413, "BodyTooLarge", message)

    async def _collect(self, reading: _BodyReading, receive: Receive, inflater: Inflater | None) -> bytes:
        parts: list[bytes] = []
        more, left = True, most_encoded(self.largest)
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            more = message["more_body"]
            if inflater is None:
                self._hold(reading, parts, message["body"])
                continue
            left -= len(message["body"])
            if left < 0:
                raise self.too_large()
            for part in inflater.feed(message["body"]):
                self._hold(reading, parts, part)
                await asyncio.sleep(0)  # let other requests run
        if inflater is not None:
            inflater.finish()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, reading: _BodyReading, parts: list[bytes], part: bytes) -> None:
        reading.size += len(part)
        self._held += len(part)
        if reading.size > self.largest:
            raise self.too_large()
        parts.append(part)
        if self._held > self._most_held:
            message = "too many request bodies are being received, and this one is the slowest. Try again"
            next(iter(self._readings)).abort(LateBodyError(503, "TooManyRequests", message, headers=_SOON))


_SOON = {"Retry-After": "1"}
