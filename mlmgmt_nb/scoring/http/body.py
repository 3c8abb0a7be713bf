"""Reads the bodies of requests that have no place yet: a caller who sends slowly keeps nobody else out.

Each has its largest size and the time of a request, and all together their memory: beyond it the body that has been
coming for longest is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mlmgmt_nb.scoring.errors import CallerGone, RequestError
from mlmgmt_nb.scoring.http.decoding import Inflater, most_encoded

__all__ = ["BodyReader", "LateBodyError", "Receive"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class LateBodyError(RequestError):
    """A body that is not waited for any longer."""


class _Reading:
    """A body that is being read: its clock, its size until now, and why it was given up."""

    __slots__ = ("clock", "fault", "size")

    def __init__(self, clock: asyncio.Timeout, fault: LateBodyError) -> None:
        self.clock = clock
        self.fault = fault
        self.size = 0

    def give_up(self, fault: LateBodyError) -> None:
        if not self.clock.expired():
            self.fault = fault
            self.clock.reschedule(asyncio.get_running_loop().time())


class BodyReader:
    """Reads bodies.

    Args:
        largest: most bytes of one, decoded.
        most_held: most bytes of all that are not complete.
        seconds: how long one may take.
    """

    def __init__(self, largest: int, most_held: int, seconds: float) -> None:
        self.largest = largest
        self._most_held = most_held
        self._seconds = seconds
        self._held = 0
        self._readings: dict[_Reading, None] = {}  # the oldest first

    async def read(self, receive: Receive, inflater: Inflater | None = None) -> bytes:
        """Return a body, decoded.

        Raises:
            RequestError: it is too large, too slow, or not encoded as it says.
            CallerGone: its caller hung up.
        """
        late = LateBodyError(408, "RequestTimeout", f"the body did not arrive within {self._seconds:g} seconds")
        reading = _Reading(asyncio.timeout(self._seconds), late)
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
        """Give up all that is being read, as the replica ends; return how many bodies that are."""
        for reading in self._readings:
            reading.give_up(LateBodyError(503, "ReplicaEnds", "this replica ends: try again", headers=_SOON))
        return len(self._readings)

    def too_large(self) -> RequestError:
        """Return the refusal of a body that is larger than the largest."""
        message = f"the body is larger than {self.largest} bytes, the limit of this service"
        return RequestError(413, "BodyTooLarge", message)

    async def _collect(self, reading: _Reading, receive: Receive, inflater: Inflater | None) -> bytes:
        parts: list[bytes] = []
        more, left = True, most_encoded(self.largest)
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerGone
            more = message["more_body"]
            if inflater is None:
                self._hold(reading, parts, message["body"])
                continue
            left -= len(message["body"])
            if left < 0:
                raise self.too_large()
            for part in inflater.feed(message["body"]):
                self._hold(reading, parts, part)
                await asyncio.sleep(0)  # others have their turn
        if inflater is not None:
            inflater.finish()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, reading: _Reading, parts: list[bytes], part: bytes) -> None:
        reading.size += len(part)
        self._held += len(part)
        if reading.size > self.largest:
            raise self.too_large()
        parts.append(part)
        if self._held > self._most_held:
            message = "too many bodies are on their way, and this one has taken longest: try again"
            next(iter(self._readings)).give_up(LateBodyError(503, "TooManyRequests", message, headers=_SOON))


_SOON = {"Retry-After": "1"}
