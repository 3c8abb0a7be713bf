"""One request on its way to `run` and back."""

from __future__ import annotations

import asyncio

from mlmgmt_nb.scoring.driver.driver import Outcome, Payload
from mlmgmt_nb.scoring.driver.streaming import Stream

__all__ = ["Call"]


class Call:
    """One call of `run` for a request.

    Attributes:
        deadline: time by which the call must be answered, on a monotonic clock.
        future: returns the answer or raises `RequestError`.
        begun: `run` has been called.
        seconds: duration of `run`.
        stream: the answer, if it is sent in parts.
        answered: the caller already has an answer or hung up; the result of `run` is dropped.
    """

    __slots__ = ("answered", "begun", "deadline", "future", "payload", "request_id", "seconds", "stream")

    def __init__(self, request_id: str, deadline: float, future: asyncio.Future[Outcome]) -> None:
        self.request_id = request_id
        self.deadline = deadline
        self.future = future
        self.payload: Payload = b""
        self.begun = False
        self.seconds = 0.0
        self.stream: Stream | None = None
        self.answered = False
