"""Admit calls up to a limit, enforce their deadlines, answer them, and count."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from time import monotonic

import msgspec

from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.calls.runner import Admitted, Deliver, Runner
from mlmgmt_nb.scoring.driver.driver import Driver, Outcome, Payload
from mlmgmt_nb.scoring.driver.streaming import Stream
from mlmgmt_nb.scoring.errors import ClientDisconnected, RequestError, RuntimeFailure
from mlmgmt_nb.scoring.histogram import METRICS_BOUNDS, Histogram

__all__ = ["Admission", "Stats", "log"]

_SWEEP_SECONDS = 0.1
_HEAD_START_SECONDS = 0.001
"""What other replicas get for each call that waits here."""
_LONGEST_HEAD_START = 0.01
_HEAD_START_IF_FULL = 0.05
"""Half of what the front door waits for a replica that takes a connection (`service.gateway.handover`)."""


def log(text: str) -> None:
    """Write a line (or a traceback) to stderr, which the supervisor keeps."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Stats(msgspec.Struct, rename="camel", tag="stats", omit_defaults=True):
    """Counters since the start.

    Attributes:
        requests: calls admitted, whatever their result.
        failures: calls in which the driver failed (500) or did not finish in time (504).
        rejected: calls refused because the limit was reached (503).
        busy: calls that run now.
        waiting: calls that were admitted and do not run yet.
        limit: maximum number of calls that run or wait.
        busy_seconds: time spent in the driver, including the current call.
        latency: number of answered calls by latency, see `Histogram.counts`.
        latency_seconds: sum of the latencies.
        occupied: mean number of running and waiting calls since the last report.
        recorded: requests that were recorded.
        not_recorded: requests that should have been recorded but were too many or too large.
    """

    requests: int
    failures: int
    rejected: int
    busy: int
    waiting: int
    limit: int
    busy_seconds: float
    latency: dict[str, int]
    latency_seconds: float
    occupied: float
    recorded: int = 0
    not_recorded: int = 0


class Admission:
    """Admission of calls to one driver.

    Args:
        concurrency: maximum number of calls that run or wait.
        timeout: seconds after which the caller gets 504; a call that has started keeps its place until `run` returns.
        make_runner: returns the runner, which has the event loop.

    Attributes:
        latencies: latencies of the calls, added by the code that answers them.
        on_failure: called with each exception that `run` raised, and the id of its request.
    """

    def __init__(self, concurrency: int, timeout: float, make_runner: Callable[[Deliver, Admitted], Runner]) -> None:
        self.concurrency = concurrency
        self.timeout = timeout
        self.driver: Driver | None = None
        self.latencies = Histogram(METRICS_BOUNDS)
        self.on_failure: Callable[[RequestError, str], None] | None = None
        self._calls: dict[Call, None] = {}
        self._runner = make_runner(self._deliver, self._calls.__len__)
        self._loop = self._runner.loop
        self._requests = self._failures = self._rejected = 0
        self._seen = self._looks = 0
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, load: Callable[[], Driver]) -> Driver:
        """Load the driver in its thread.

        Raises:
            LoadError: the driver cannot be loaded.
        """
        self.driver = await self._runner.start(load)
        self._sweep()
        return self.driver

    def stop(self) -> None:
        """End the driver's thread after the calls submitted so far, without waiting for them."""
        if self._sweeper:
            self._sweeper.cancel()
        self._runner.stop()

    def abandon(self) -> int:
        """Tell all callers that the replica is stopping; return their number."""
        open_calls = [call for call in self._calls if not call.answered]
        for call in self._calls:
            if call.stream is not None:
                call.stream.close()
        for call in open_calls:
            call.answered = True
            if not call.future.done():
                call.future.set_exception(
                    RequestError(
                        503, "ReplicaEnds", "this replica is stopping. Try again", headers={"Retry-After": "1"}
                    )
                )
        return len(open_calls)

    @property
    def calls(self) -> int:
        """Number of running and waiting calls."""
        return len(self._calls)

    @property
    def is_full(self) -> bool:
        """Return whether all places are taken."""
        return len(self._calls) >= self.concurrency

    def head_start(self, coming: int) -> float:
        """Return the seconds for which other replicas should have the chance to take a call; 0 if it would begin at
        once here.

        Args:
            coming: number of calls that are on their way.
        """
        calls = len(self._calls) + coming
        if calls >= self.concurrency:
            return _HEAD_START_IF_FULL
        most_running = (self.driver and self.driver.most_running) or self.concurrency
        waiting = calls - most_running
        return 0.0 if waiting < 0 else min(_HEAD_START_SECONDS * (waiting + 1), _LONGEST_HEAD_START)

    def check_room(self) -> None:
        """Count and refuse a call if all places are taken.

        Raises:
            RequestError: 503, all places are taken.
        """
        if self.is_full:
            self._rejected += 1
            raise RequestError(
                503,
                "TooManyRequests",
                f"all {self.concurrency} places of this replica are taken. Try again later",
                headers={"Retry-After": "1"},
            )

    def submit(self, request_id: str, payload: Payload, deadline: float = 0.0) -> Call:
        """Take a place and queue a call of `run`; the future of the call returns the answer or raises `RequestError`.

        Args:
            deadline: time by which the call must be answered; 0 is `timeout` from now.

        Raises:
            RequestError: 503, all places are taken.
        """
        assert self.driver is not None
        self.check_room()
        self._requests += 1
        call = Call(request_id, deadline or monotonic() + self.timeout, self._loop.create_future())
        call.payload = payload
        self._calls[call] = None
        self._runner.submit(self.driver, call)
        return call

    def disconnect(self, call: Call) -> None:
        """Note that the caller of a submitted call hung up."""
        if call.stream is not None:
            call.stream.close()
        elif not call.answered:
            self._settle(call, ClientDisconnected("the caller hung up"))

    def _settle(self, call: Call, failure: RuntimeFailure) -> None:
        """Answer a call before `run` returns. If it is still waiting, it frees its place at once and does not run."""
        call.answered = True
        if not call.begun:
            self._calls.pop(call, None)
        if not call.future.done():
            call.future.set_exception(failure)

    def stats(self) -> Stats:
        """Return the current counters."""
        running = self._runner.running
        occupied = self._seen / self._looks if self._looks else float(len(self._calls))
        self._seen = self._looks = 0
        return Stats(
            requests=self._requests,
            failures=self._failures,
            rejected=self._rejected,
            busy=running,
            waiting=max(0, len(self._calls) - running),
            limit=self.concurrency,
            busy_seconds=round(self._runner.busy_seconds(), 3),
            latency=self.latencies.counts(),
            latency_seconds=round(self.latencies.seconds, 6),
            occupied=round(occupied, 2),
        )

    def _deliver(self, call: Call, outcome: Outcome | RequestError) -> None:
        if isinstance(outcome, Stream) and not outcome.ended:
            self._begin_stream(call, outcome)
            return
        self._calls.pop(call, None)
        if isinstance(outcome, Stream) and outcome.failure is not None:
            self._log_failure(call, outcome.failure)
        if not isinstance(outcome, RequestError):
            if not call.answered and not call.future.done():
                call.future.set_result(outcome)
            return
        self._log_failure(call, outcome)
        if not call.answered and not call.future.done():
            call.future.set_exception(outcome)

    def _begin_stream(self, call: Call, stream: Stream) -> None:
        """Start to send a stream; its call keeps its place until the stream ends."""
        if call.answered or call.future.done():
            stream.close()
            return
        call.stream = stream
        call.answered = True
        call.future.set_result(stream)

    def _log_failure(self, call: Call, error: RequestError) -> None:
        if error.status < 500 or not error.message:
            return
        self._failures += 0 if call.answered else 1
        if error.trace:
            log(f"request {call.request_id}: run() failed\n{error.trace}")
            if self.on_failure:
                self.on_failure(error, call.request_id)

    def _sweep(self) -> None:
        """Answer calls that take too long. Checking a few times a second is cheaper than a timer per call."""
        now = monotonic()
        self._seen += len(self._calls)
        self._looks += 1
        for call in list(self._calls):
            if now < call.deadline or call.answered:
                continue
            self._failures += 1
            self._settle(call, RequestError(504, "Timeout", f"run() did not finish within {self.timeout:g} seconds"))
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
