"""The driver's thread: a queue of calls, what became of them, and counters.

`init` and `run` are always called in a thread of their own (`run` in several, if the driver says so), so that the event
loop keeps answering health checks. Handing over costs most where little else does, since each wake-up takes the
interpreter away from the other side. So calls are handed over once in a turn of the loop; and where calls are brief and
come thick, the driver's thread borrows the loop instead, see `Turns`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from queue import SimpleQueue
from time import monotonic
from typing import Any

import msgspec

from mlmgmt_nb.scoring.batching import Batcher
from mlmgmt_nb.scoring.context import request_id
from mlmgmt_nb.scoring.driver import Driver, Outcome, Payload
from mlmgmt_nb.scoring.errors import CallerGone, LoadError, RequestError, RuntimeFailure
from mlmgmt_nb.scoring.latency import Latencies
from mlmgmt_nb.scoring.output import end_lines
from mlmgmt_nb.scoring.turns import Turns

__all__ = ["Call", "Engine", "Stats", "log"]

_SWEEP_SECONDS = 0.1
_BRIEF_SECONDS = 0.0003
"""Calls that usually end so soon are better not handed over."""
_THICK_SECONDS = 0.002
"""They come thick when there are new ones so soon after the ones before."""
_CALLS_SECONDS = 0.001
"""For how long the driver's thread calls `run` before the loop that it has borrowed has its turn."""
_USUAL_CALLS = 8
"""How many calls tell what is usual."""
_SWITCH_SECONDS = 0.001
"""How long a thread keeps the interpreter when several run the driver: at Python's 5 ms they wait for each other."""


def log(text: str) -> None:
    """One line (or a traceback) on stderr, which the supervisor keeps."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Stats(msgspec.Struct, rename="camel", tag="stats"):
    """Counters since the start.

    Attributes:
        requests: calls taken, whatever became of them.
        failures: calls that the driver failed (500) or did not finish in time (504).
        rejected: calls refused because the limit was reached (503).
        busy: calls that run now.
        waiting: calls that have been taken and do not run yet.
        limit: how many calls may run and wait together.
        busy_seconds: time spent in the driver, the present call included.
        latency: answered calls by how long that took, see `Latencies.counts`.
        latency_seconds: how long that took together.
        occupied: mean number of calls that ran and waited since the last report.
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


class Call:
    """One request on its way through the engine.

    Attributes:
        reader: the task that reads its body, until it is read.
        begun: `run` has been called for it.
        answered: its caller has an answer already, or has gone: what `run` returns goes nowhere.
    """

    __slots__ = ("answered", "begun", "deadline", "future", "payload", "reader", "request_id")

    def __init__(
        self, request_id: str, deadline: float, future: asyncio.Future[Any], reader: asyncio.Task[Any] | None
    ) -> None:
        self.request_id = request_id
        self.deadline = deadline
        self.future = future
        self.reader = reader
        self.payload: Payload = b""
        self.begun = False
        self.answered = False


class Engine:
    """Runs one driver.

    Args:
        concurrency: how many calls may run and wait together.
        timeout: seconds that a call may take before its caller is answered 504; once begun, it keeps its place until
            `run` returns.
        turns: of the running event loop, for the driver's thread to borrow it.

    Attributes:
        latencies: how long calls took, counted by whoever answers them.
        on_failure: is told each exception that `run` raised, and the id of its request.
    """

    def __init__(self, concurrency: int, timeout: float, turns: Turns) -> None:
        self.concurrency = concurrency
        self.timeout = timeout
        self.driver: Driver | None = None
        self.latencies = Latencies()
        self.on_failure: Callable[[RequestError, str], None] | None = None
        self._turns = turns
        self._loop = turns.loop
        self._context = copy_context()  # of no request
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._submitted: list[Call] = []
        self._led: deque[Call] = deque()  # those of the turn, when the driver's thread runs the loop
        self._done: deque[tuple[Call, Outcome | RequestError]] = deque()
        self._waking = False
        self._may_lend = False
        self._usual_seconds = 1.0
        self._handed_over = 0.0
        self._calls: dict[Call, None] = {}
        self._driver_loop: asyncio.AbstractEventLoop | None = None
        self._counting = threading.Lock()
        self._running = 0
        self._running_since = 0.0
        self._busy_seconds = 0.0
        self._requests = self._failures = self._rejected = 0
        self._seen = self._looks = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer_async: Callable[[Payload], Awaitable[Outcome]]
        self._thread: threading.Thread | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, load: Callable[[], Driver]) -> Driver:
        """Loads the driver in its thread.

        Raises:
            LoadError: what `load` raised.
        """
        loaded: asyncio.Future[Driver] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(load, loaded), name="driver", daemon=True)
        self._thread.start()
        self.driver = await loaded
        self._sweep()
        return self.driver

    def stop(self) -> None:
        """Ends the thread once the calls before are done; does not wait."""
        if self._sweeper:
            self._sweeper.cancel()
        self._turns.call_back()
        self._queue.put(None)
        if self._driver_loop is not None:
            self._driver_loop.call_soon_threadsafe(self._driver_loop.stop)

    def abandon(self) -> int:
        """Answers all callers that the replica ends; their number."""
        open_calls = [call for call in self._calls if not call.answered]
        for call in open_calls:
            call.answered = True
            if call.reader is not None:
                call.reader.cancel()
            elif not call.future.done():
                call.future.set_exception(
                    RequestError(503, "ReplicaEnds", "this replica ends: try again", headers={"Retry-After": "1"})
                )
        return len(open_calls)

    @property
    def calls(self) -> int:
        """How many calls run and wait."""
        return len(self._calls)

    @property
    def is_full(self) -> bool:
        """Whether all places are taken."""
        return len(self._calls) >= self.concurrency

    def _count(self) -> int:
        return len(self._calls)

    def take(self, request_id: str) -> Call:
        """A place for a call, before its body is read; the caller gives it to `submit` or `drop`.

        Raises:
            RequestError: 503, all places are taken.
        """
        if self.is_full:
            self._rejected += 1
            raise RequestError(
                503,
                "TooManyRequests",
                f"all {self.concurrency} places of this replica are taken: try again later",
                headers={"Retry-After": "1"},
            )
        self._requests += 1
        call = Call(
            request_id, monotonic() + self.timeout, self._loop.create_future(), asyncio.current_task(self._loop)
        )
        self._calls[call] = None
        return call

    def submit(self, call: Call, payload: Payload) -> asyncio.Future[Outcome]:
        """Queues a call; the future gives the answer or a `RequestError`."""
        call.payload = payload
        call.reader = None
        if self._driver_loop is not None:
            self._driver_loop.call_soon_threadsafe(self._start_async, call)
        elif self._turns.is_lent:
            if not self._led:
                self._loop.stop()
            self._led.append(call)
        else:
            if not self._submitted:
                self._loop.call_soon(self._hand_over, context=self._context)
            self._submitted.append(call)
        return call.future

    def _hand_over(self) -> None:
        """Wakes the driver's thread for all that was submitted in this turn of the loop: one wake-up, not one each."""
        before, self._handed_over = self._handed_over, monotonic()
        come_thick = self._handed_over - before < _THICK_SECONDS
        if self._may_lend and come_thick and self._usual_seconds < _BRIEF_SECONDS and not self._running:
            first, *others = self._submitted
            self._led.extend(others)
            self._turns.lend(self._deliver)
            self._queue.put(first)
        else:
            for call in self._submitted:
                self._queue.put(call)
        self._submitted.clear()

    def drop(self, call: Call) -> None:
        """Gives a place back that was never submitted."""
        self._calls.pop(call, None)

    def hang_up(self, call: Call) -> None:
        """The caller of a submitted call has gone."""
        if not call.answered:
            self._settle(call, CallerGone("the caller hung up"))

    def _settle(self, call: Call, failure: RuntimeFailure) -> None:
        """Answers a call before `run` has. If it only waits, its place is free at once, and it will never run."""
        call.answered = True
        if not call.begun:
            self._calls.pop(call, None)
        if not call.future.done():
            call.future.set_exception(failure)

    def stats(self) -> Stats:
        """The counters now."""
        running, since = self._running, self._running_since
        busy_seconds = self._busy_seconds + (monotonic() - since if running and since else 0.0)
        occupied = self._seen / self._looks if self._looks else float(len(self._calls))
        self._seen = self._looks = 0
        return Stats(
            requests=self._requests,
            failures=self._failures,
            rejected=self._rejected,
            busy=running,
            waiting=max(0, len(self._calls) - running),
            limit=self.concurrency,
            busy_seconds=round(busy_seconds, 3),
            latency=self.latencies.counts(),
            latency_seconds=round(self.latencies.seconds, 6),
            occupied=round(occupied, 2),
        )

    # in the driver's thread

    def _work(self, load: Callable[[], Driver], loaded: asyncio.Future[Driver]) -> None:
        try:
            driver = load()
        except LoadError as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            self._loop.call_soon_threadsafe(loaded.set_exception, error)
            return
        except BaseException as error:  # noqa: BLE001 - a fault of ours must reach the supervisor too
            traceback.print_exc()
            failure = LoadError("RuntimeError", f"{type(error).__name__}: {error}")
            self._loop.call_soon_threadsafe(loaded.set_exception, failure)
            return
        if driver.is_async:
            self._work_async(driver, loaded)
            return
        # what has been loaded stays: the garbage collector need not look through it again and again
        gc.freeze()
        self._loop.call_soon_threadsafe(loaded.set_result, driver)
        if driver.batch is not None and driver.schema is not None:
            self._work_batches(Batcher(driver.batch, driver.run, driver.schema.input, driver.answer))
            return
        if driver.threads > 1:
            sys.setswitchinterval(_SWITCH_SECONDS)
        self._may_lend = driver.threads == 1
        for number in range(2, driver.threads + 1):
            threading.Thread(target=self._work_calls, args=(driver,), name=f"driver-{number}", daemon=True).start()
        self._work_calls(driver)

    def _work_calls(self, driver: Driver) -> None:
        while (call := self._queue.get()) is not None:
            self._call(driver, call)
            self._wake_loop()
            if self._turns.is_lent or self._led:
                self._lead(driver)
        self._queue.put(None)  # for the next thread

    def _call(self, driver: Driver, call: Call) -> None:
        began = monotonic()
        self._done.append((call, self._run(driver.answer, call)))
        self._usual_seconds += (monotonic() - began - self._usual_seconds) / _USUAL_CALLS

    def _lead(self, driver: Driver) -> None:
        """Runs the loop and the calls that it brings, by turns."""
        turns = self._turns
        if turns.take():
            while turns.is_lent:
                if self._led:
                    self._loop.stop()
                turns.run_turn()
                turns.pause()
                self._call_led(driver)
                if not turns.resume():
                    break
                self._deliver()
                turns.is_lent = turns.is_lent and self._usual_seconds < _BRIEF_SECONDS
            else:
                turns.give_back()
        while self._led:
            self._call(driver, self._led.popleft())
            self._wake_loop()

    def _call_led(self, driver: Driver) -> None:
        until = monotonic() + _CALLS_SECONDS
        while self._led and monotonic() < until:
            self._call(driver, self._led.popleft())
        if not self._turns.is_lent:  # the loop was taken, it is to be told
            self._wake_loop()

    def _work_batches(self, batcher: Batcher) -> None:
        while (first := self._queue.get()) is not None:
            calls = [call for call in batcher.gather(first, self._queue, self._count) if not call.answered]
            for call in calls:
                call.begun = True
            self._enter(len(calls))
            outcomes = batcher.answer([(call.request_id, bytes(call.payload)) for call in calls])  # type: ignore[arg-type]
            self._leave(len(calls))
            for call, outcome in zip(calls, outcomes, strict=True):
                end_lines(call.request_id)
                self._hand_back(call, outcome)

    def _work_async(self, driver: Driver, loaded: asyncio.Future[Driver]) -> None:
        """An event loop of the driver's own, in which its calls run side by side."""
        self._answer_async = driver.answer_async
        loop = asyncio.new_event_loop()
        self._driver_loop = loop
        loop.call_soon(self._loop.call_soon_threadsafe, loaded.set_result, driver)
        loop.run_forever()

    def _start_async(self, call: Call) -> None:
        assert self._driver_loop is not None
        task = self._driver_loop.create_task(self._run_async(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_async(self, call: Call) -> None:
        call.begun = True
        request_id.set(call.request_id)
        self._enter(1)
        try:
            outcome: Outcome | RequestError = await self._answer_async(call.payload)
        except RequestError as error:
            outcome = error.with_traceback(None)
        self._leave(1)
        end_lines(call.request_id)
        self._hand_back(call, outcome)

    def _run(self, answer: Callable[[Payload], Outcome], call: Call) -> Outcome | RequestError:
        if call.answered:  # while it waited
            return RequestError(504, "Timeout", "")
        call.begun = True
        request_id.set(call.request_id)
        self._enter(1)
        try:
            return answer(call.payload)
        except RequestError as error:
            return error.with_traceback(None)
        except BaseException as error:  # noqa: BLE001 - whatever happens, the thread lives on
            traceback.print_exc()
            return RequestError(500, "RuntimeError", f"{type(error).__name__}: {error}")
        finally:
            self._leave(1)
            end_lines(call.request_id)

    def _enter(self, calls: int) -> None:
        with self._counting:
            if not self._running:
                self._running_since = monotonic()
            self._running += calls

    def _leave(self, calls: int) -> None:
        with self._counting:
            self._running -= calls
            if not self._running:
                self._busy_seconds += monotonic() - self._running_since

    def _hand_back(self, call: Call, outcome: Outcome | RequestError) -> None:
        self._done.append((call, outcome))
        self._wake_loop()

    def _wake_loop(self) -> None:
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._deliver, context=self._context)

    # in the event loop

    def _deliver(self) -> None:
        self._waking = False
        done = self._done
        while done:
            call, outcome = done.popleft()
            self._calls.pop(call, None)
            if not isinstance(outcome, RequestError):
                if not call.answered and not call.future.done():
                    call.future.set_result(outcome)
                continue
            self._log_failure(call, outcome)
            if not call.answered and not call.future.done():
                call.future.set_exception(outcome)

    def _log_failure(self, call: Call, error: RequestError) -> None:
        if error.status < 500 or not error.message:
            return
        self._failures += 0 if call.answered else 1
        if error.trace:
            log(f"request {call.request_id}: run() failed\n{error.trace}")
            if self.on_failure:
                self.on_failure(error, call.request_id)

    def _sweep(self) -> None:
        """Answers calls that take too long. A few calls a few times a second: cheaper than a timer for each."""
        now = monotonic()
        self._seen += len(self._calls)
        self._looks += 1
        for call in list(self._calls):
            if now < call.deadline or call.answered:
                continue
            if call.reader is not None:
                call.answered = True
                call.reader.cancel()
                continue
            self._failures += 1
            self._settle(call, RequestError(504, "Timeout", f"run() did not finish within {self.timeout:g} seconds"))
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
