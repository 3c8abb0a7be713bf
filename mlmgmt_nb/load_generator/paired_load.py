"""Requests to two services in turn, so that neither is favored when they are compared."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlmgmt_nb.load_generator.caller import Caller, Response
from mlmgmt_nb.load_generator.load import Load
from mlmgmt_nb.load_generator.messages import Batch, Plan, Target

__all__ = ["PairedLoad"]


class _Pair:
    """Send each request to both targets in turn.

    Args:
        target, against, timeout: as in the plan.
        turn: the target that gets the first request first, 1 or 0.
        on_answers: called with the number of a request and both answers.
    """

    def __init__(
        self,
        target: Target,
        against: Target,
        timeout: float,
        turn: int,
        on_answers: Callable[[_Pair, int, Response, Response], None],
    ) -> None:
        self.callers = [Caller(one, timeout, self._receive) for one in (target, against)]
        self._turn, self._on_answers = turn, on_answers
        self._body = b""
        self._answers: dict[Caller, Response] = {}

    def send(self, number: int, body: bytes) -> None:
        """Send a request to both targets; the next one goes to the other target first."""
        self._turn ^= 1
        self._body = body
        self.callers[self._turn].send(number, body, time.perf_counter())

    def _receive(self, caller: Caller, number: int, answer: Response) -> None:
        self._answers[caller] = answer
        if len(self._answers) == 1:
            self.callers[self._turn ^ 1].send(number, self._body, time.perf_counter())
            return
        answers, self._answers = self._answers, {}
        self._on_answers(self, number, *(answers[one] for one in self.callers))


class PairedLoad(Load):
    """Send the requests of a plan with `alternates`."""

    def __init__(self, plan: Plan, emit: Callable[[Batch], None]) -> None:
        super().__init__(plan, emit)
        assert plan.against is not None
        self._pairs = [
            _Pair(plan.target, plan.against, plan.timeout, place % 2, self._receive_both)
            for place in range(plan.connections)
        ]
        self._callers = [caller for pair in self._pairs for caller in pair.callers]
        self._others = []

    def _start(self) -> None:
        for pair in self._pairs:
            self._send_pair(pair)

    def _send_pair(self, pair: _Pair) -> None:
        now = time.perf_counter()
        if not self._stopped and self._has_more(now):
            number = self._take()
            self._under_way += 1
            self._due_at[number] = now - self._begun
            pair.send(number, self._plan.bodies[self._case(number)])

    def _receive_both(self, pair: _Pair, number: int, answer: Response, other: Response) -> None:
        self._under_way -= 1
        self._results.add(self._case(number), self._due_at.pop(number), answer, other)
        self._send_pair(pair)
        self._end_if_done()
