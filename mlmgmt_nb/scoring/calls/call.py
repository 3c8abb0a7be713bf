"""One request on its way to `run` and back."""

from __future__ import annotations

import asyncio

from mlmgmt_nb.scoring.driver.driver import Outcome, Payload
from mlmgmt_nb.scoring.driver.streaming import Stream

__all__ = ["Call"]


class Call:
    """One request on its way through the engine.

    Attributes:
        deadline: when its caller has waited too long, of a clock that only goes forward.
        future: gives the answer or a `RequestError`.
        begun: `run` has been called for it.
        seconds: how long `run` took.
        stream: the answer, if it goes out in parts.
        answered: its caller has an answer already, or has gone: what `run` returns goes nowhere.
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
