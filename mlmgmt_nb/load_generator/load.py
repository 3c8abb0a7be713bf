"""Requests at full speed or at a rate.

Each connection has one request in flight at a time. Without a rate, it sends the next request after each answer. With a
rate, requests are due at fixed times and go to any free connection. The latency of a request that had to wait for a
free connection counts from its due time, so that a slow answer does not hide the requests that it delayed (coordinated
omission). If a connection was free and the program itself was late, the latency counts from the time of sending, and
`Batch.late` is the delay.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from mlmgmt_nb.load_generator.caller import Caller, Response
from mlmgmt_nb.load_generator.messages import Batch, Plan
from mlmgmt_nb.load_generator.results import Results

__all__ = ["Load"]

_BATCH_SECONDS = 0.1
_SWEEP_SECONDS = 0.05
_GRACE_SECONDS = 1.0
"""How long requests in flight may take after the stop."""


class Load:
    """Send the requests of a plan, and pass batches of results to `emit`."""

    def __init__(self, plan: Plan, emit: Callable[[Batch], None]) -> None:
        self._plan = plan
        self._emit = emit
        self._results = Results()
        self._callers = [Caller(plan.target, plan.timeout, self._receive) for _ in range(plan.connections)]
        self._free = deque(self._callers)
        self._others: list[Caller] = []
        if plan.against is not None:
            self._others = [
                Caller(plan.against, plan.timeout, self._receive_reference) for _ in range(plan.connections)
            ]
        self._free_others = deque(self._others)
        self._to_compare: deque[tuple[int, float, Response, Caller]] = deque()
        self._comparing: dict[int, tuple[float, Response, Caller]] = {}
        self._due_at: dict[int, float] = {}
        self._next = plan.first
        self._waiting: deque[int] = deque()
        self._under_way = 0
        self._stopped = False
        self._late = 0.0
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run until all requests are answered, or until `stop`."""
        everyone = [*self._callers, *self._others]
        # Connections are opened before the clock starts: that is not part of scoring. One that fails now fails again
        # with its first request, which reports it.
        await asyncio.gather(*(caller.connect() for caller in everyone))
        self._cpu = time.process_time()
        self._begun = time.perf_counter()
        sweeper = asyncio.create_task(self._sweep(everyone))
        self._start()
        self._end_if_done()
        await self._ended.wait()
        sweeper.cancel()
        self._flush(ended=True)
        for caller in everyone:
            caller.close()

    def _start(self) -> None:
        if self._plan.rate is None:
            for caller in list(self._free):
                self._send_next(caller)
        else:
            self._send_due()

    def stop(self) -> None:
        """Send no more requests, and end soon."""
        if self._stopped:
            return
        self._stopped = True
        self._waiting.clear()
        if self._timer:
            self._timer.cancel()
        self._end_if_done()
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._ended.set)

    async def _sweep(self, callers: list[Caller]) -> None:
        flushed = time.perf_counter()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.perf_counter()
            for caller in callers:
                caller.sweep(now)
            if now - flushed >= _BATCH_SECONDS:
                flushed = now
                self._flush(ended=False)

    def _flush(self, *, ended: bool) -> None:
        cpu, clock = time.process_time() - self._cpu, time.perf_counter() - self._begun
        self._emit(self._results.taken(cpu, clock, self._late, ended=ended))

    def _end_if_done(self) -> None:
        done = self._stopped or not self._has_more(time.perf_counter())
        if done and not self._under_way and not self._waiting:
            self._ended.set()

    def _has_more(self, now: float) -> bool:
        """Return whether more requests will be sent, now or later."""
        plan = self._plan
        if plan.requests is not None and self._next >= plan.requests:
            return False
        at = self._next / plan.rate if plan.rate else now - self._begun
        return plan.duration is None or at < plan.duration

    # without a rate

    def _send_next(self, caller: Caller) -> None:
        now = time.perf_counter()
        if not self._stopped and self._has_more(now):
            self._send(caller, self._take(), now - self._begun, now)

    def _take(self) -> int:
        number = self._next
        self._next += self._plan.step
        return number

    def _send(self, caller: Caller, number: int, at: float, counts_from: float) -> None:
        self._under_way += 1
        self._due_at[number] = at
        caller.send(number, self._plan.bodies[self._case(number)], counts_from)

    def _case(self, number: int) -> int:
        return number % len(self._plan.bodies)

    # with a rate

    def _send_due(self) -> None:
        """Send the requests that are due while callers are free, and schedule the next call."""
        rate = self._plan.rate
        assert rate is not None
        now = time.perf_counter()
        while self._has_more(now) and self._begun + self._next / rate <= now:
            self._waiting.append(self._take())
        self._send_waiting()
        if self._has_more(now):
            wait = self._begun + self._next / rate - time.perf_counter()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait), self._send_due)

    def _send_waiting(self) -> None:
        rate = self._plan.rate
        assert rate is not None
        while self._waiting and self._free:
            number, caller = self._waiting.popleft(), self._free.popleft()
            now, due = time.perf_counter(), self._begun + number / rate
            could = max(due, caller.free_since)
            self._late = max(self._late, now - could)
            # Waiting for a free connection counts as latency of the service; delays of this program do not.
            self._send(caller, number, number / rate, now - (could - due))

    # answers

    def _receive(self, caller: Caller, number: int, answer: Response) -> None:
        at = self._due_at.pop(number)
        if self._plan.against is None or self._stopped:
            self._under_way -= 1
            self._results.add(self._case(number), at, answer, None)
            self._release(caller)
        else:
            self._to_compare.append((number, at, answer, caller))
            self._compare()
            if self._plan.rate is not None:
                self._release(caller)

    def _release(self, caller: Caller) -> None:
        """Mark the caller as free for another request."""
        if self._plan.rate is None:
            self._send_next(caller)
        else:
            self._free.append(caller)
            self._send_waiting()
        self._end_if_done()

    def _compare(self) -> None:
        while self._to_compare and self._free_others:
            number, at, answer, caller = self._to_compare.popleft()
            self._comparing[number] = (at, answer, caller)
            self._free_others.popleft().send(number, self._plan.bodies[self._case(number)], time.perf_counter())

    def _receive_reference(self, other: Caller, number: int, answer: Response) -> None:
        at, first, caller = self._comparing.pop(number)
        self._under_way -= 1
        self._results.add(self._case(number), at, first, answer)
        self._free_others.append(other)
        self._compare()
        if self._plan.rate is None:
            self._release(caller)
        else:
            self._end_if_done()
