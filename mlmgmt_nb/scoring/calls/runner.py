"""Call `init` and `run` in the driver's thread, one call after the other or as the driver declares.

Both are always called in a separate thread (`run` in several, if the driver declares that), so that the event loop
keeps answering health checks. Handing calls over is expensive, because each wake-up takes the interpreter away from the
other side. So calls are handed over once per turn of the loop; and if calls are brief and frequent, the driver's thread
borrows the loop instead, see `SharedLoop`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from time import monotonic

from mlmgmt_nb.scoring.calls.batcher import Batcher
from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.calls.loop_lending import SharedLoop
from mlmgmt_nb.scoring.context import request_id
from mlmgmt_nb.scoring.driver.driver import Driver, Outcome
from mlmgmt_nb.scoring.driver.output import end_lines
from mlmgmt_nb.scoring.driver.streaming import Stream
from mlmgmt_nb.scoring.errors import LoadError, RequestError

__all__ = ["Runner"]

_NO_STREAM = RequestError(500, "ResultError", "a batched run() must return one item per row, not a generator")
_BRIEF_SECONDS = 0.0003
"""Calls that usually take less than this are better not handed over."""
_USUAL_CALLS = 8
"""Number of calls in the moving average of durations."""
_FREQUENT_SECONDS = 0.002
"""Calls are frequent if new ones arrive within this time after the previous ones."""
_BORROWED_SECONDS = 0.001
"""How long the driver's thread calls `run` before the next turn of the borrowed loop."""
_SWITCH_SECONDS = 0.001
"""Switch interval when several threads run the driver: with Python's 5 ms they wait for each other."""


class Runner:
    """The calls of one driver. Unless marked otherwise, methods belong to the event loop.

    Args:
        shared_loop: the event loop, for the driver's thread to borrow.
        deliver: called in the event loop with each call and its outcome.
        admitted: returns the number of admitted calls. Called in any thread.

    Attributes:
        running: number of running calls.
    """

    def __init__(
        self,
        shared_loop: SharedLoop,
        deliver: Callable[[Call, Outcome | RequestError], None],
        admitted: Callable[[], int],
    ) -> None:
        self.running = 0
        self._shared_loop = shared_loop
        self._loop = shared_loop.loop
        self._context = copy_context()  # outside of any request
        self._deliver_one = deliver
        self._admitted = admitted
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._submitted: list[Call] = []
        self._borrowed_calls: deque[Call] = (
            deque()
        )  # calls of the current turn, while the driver's thread runs the loop
        self._done: deque[tuple[Call, Outcome | RequestError]] = deque()
        self._waking = False
        self._may_lend = False
        self._usual_seconds = 1.0
        self._handed_over = 0.0
        self._stopping = False
        self._driver_loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._counting = threading.Lock()
        self._running_since = 0.0
        self._busy_seconds = 0.0

    async def start(self, load: Callable[[], Driver]) -> Driver:
        """Load the driver in its thread.

        Raises:
            LoadError: what `load` raised.
        """
        loaded: asyncio.Future[Driver] = self._loop.create_future()
        threading.Thread(target=self._work, args=(load, loaded), name="driver", daemon=True).start()
        return await loaded

    def stop(self) -> None:
        """End the thread after the calls before, without waiting for them."""
        self._stopping = True
        self._shared_loop.call_back()
        self._queue.put(None)
        if self._driver_loop is not None:
            self._driver_loop.call_soon_threadsafe(self._driver_loop.stop)

    def submit(self, driver: Driver, call: Call) -> None:
        """Have `run` called."""
        if self._driver_loop is not None:
            self._driver_loop.call_soon_threadsafe(self._start_async, driver, call)
        elif self._shared_loop.is_lent:
            if not self._borrowed_calls:
                self._loop.stop()
            self._borrowed_calls.append(call)
        else:
            if not self._submitted:
                self._loop.call_soon(self._hand_over, context=self._context)
            self._submitted.append(call)

    def busy_seconds(self) -> float:
        """Return the time spent in the driver, including the current call."""
        running, since = self.running, self._running_since
        return self._busy_seconds + (monotonic() - since if running and since else 0.0)

    def _hand_over(self) -> None:
        """Wake the driver's thread once for all calls that were submitted in this turn of the loop."""
        before, self._handed_over = self._handed_over, monotonic()
        are_frequent = self._handed_over - before < _FREQUENT_SECONDS
        if self._may_lend and are_frequent and self._usual_seconds < _BRIEF_SECONDS and not self.running:
            first, *others = self._submitted
            self._borrowed_calls.extend(others)
            self._shared_loop.lend(self._deliver)
            self._queue.put(first)
        else:
            for call in self._submitted:
                self._queue.put(call)
        self._submitted.clear()

    def _deliver(self) -> None:
        self._waking = False
        while self._done:
            self._deliver_one(*self._done.popleft())

    # in the driver's thread

    def _work(self, load: Callable[[], Driver], loaded: asyncio.Future[Driver]) -> None:
        try:
            driver = load()
        except LoadError as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            self._loop.call_soon_threadsafe(loaded.set_exception, error)
            return
        except BaseException as error:  # noqa: BLE001 - our own faults must reach the supervisor too
            traceback.print_exc()
            failure = LoadError("RuntimeError", f"{type(error).__name__}: {error}")
            self._loop.call_soon_threadsafe(loaded.set_exception, failure)
            return
        if driver.is_async:
            self._work_async(driver, loaded)
            return
        # loaded objects stay, so the garbage collector need not traverse them
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
            if self._shared_loop.is_lent or self._borrowed_calls:
                self._run_loop_and_calls(driver)
        self._queue.put(None)  # ends the next thread

    def _run_loop_and_calls(self, driver: Driver) -> None:
        """Alternate between the loop and the calls that it brings."""
        shared_loop = self._shared_loop
        if shared_loop.take():
            self._take_queued()
            while shared_loop.is_lent:
                if self._borrowed_calls:
                    self._loop.stop()
                shared_loop.run_turn()
                shared_loop.pause()
                self._run_borrowed_calls(driver)
                if not shared_loop.resume():
                    break
                self._deliver()
                if self._usual_seconds >= _BRIEF_SECONDS:
                    shared_loop.is_lent = False
            else:
                shared_loop.give_back()
        while self._borrowed_calls:
            self._call(driver, self._borrowed_calls.popleft())
            self._wake_loop()

    def _take_queued(self) -> None:
        """Take the calls that wait in the queue, which is not read until the loan ends.

        The call that woke this thread may have been queued before the loan, and others after it.
        """
        queued: list[Call] = []
        with suppress(Empty):
            while (call := self._queue.get_nowait()) is not None:
                queued.append(call)
            self._queue.put(None)  # `_work_calls` reads the end marker
        self._borrowed_calls.extendleft(reversed(queued))

    def _run_borrowed_calls(self, driver: Driver) -> None:
        until = monotonic() + _BORROWED_SECONDS
        while self._borrowed_calls and monotonic() < until:
            self._call(driver, self._borrowed_calls.popleft())
        if not self._shared_loop.is_lent:  # the main thread took the loop and must be woken
            self._wake_loop()

    def _call(self, driver: Driver, call: Call) -> None:
        if call.answered:  # it was answered while it waited
            self._done.append((call, RequestError(504, "Timeout", "")))
            return
        outcome: Outcome | RequestError
        began = self._enter(call)
        try:
            outcome = driver.answer(call.payload)
        except RequestError as error:
            outcome = error.with_traceback(None)
        except BaseException as error:  # noqa: BLE001 - the thread must survive
            outcome = _unexpected(error)
        call.seconds = monotonic() - began
        if isinstance(outcome, Stream) and not outcome.ended:
            self._done.append((call, outcome))
            self._wake_loop()
            outcome.pump(self._loop)
        self._leave(call)
        self._usual_seconds += (monotonic() - began - self._usual_seconds) / _USUAL_CALLS
        self._done.append((call, outcome))

    def _work_batches(self, batcher: Batcher) -> None:
        while (first := self._queue.get()) is not None:
            calls = [call for call in batcher.gather(first, self._queue, self._admitted) if not call.answered]
            began = monotonic()
            for call in calls:
                self._enter(call)
            outcomes = batcher.answer([(call.request_id, bytes(call.payload)) for call in calls])  # type: ignore[arg-type]
            for call, outcome in zip(calls, outcomes, strict=True):
                call.seconds = monotonic() - began
                self._leave(call)
                self._done.append((call, _NO_STREAM if isinstance(outcome, Stream) else outcome))
            self._wake_loop()

    def _work_async(self, driver: Driver, loaded: asyncio.Future[Driver]) -> None:
        """Run an event loop for the driver, in which its calls run concurrently."""
        loop = asyncio.new_event_loop()
        self._driver_loop = loop
        loop.call_soon(self._loop.call_soon_threadsafe, loaded.set_result, driver)
        while not self._stopping:
            try:
                loop.run_forever()
            except BaseException:  # noqa: BLE001 - a task of the driver raised SystemExit or KeyboardInterrupt
                traceback.print_exc()

    def _start_async(self, driver: Driver, call: Call) -> None:
        assert self._driver_loop is not None
        task = self._driver_loop.create_task(self._call_async(driver, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_async(self, driver: Driver, call: Call) -> None:
        began = self._enter(call)
        try:
            outcome: Outcome | RequestError = await driver.answer_async(call.payload)
        except RequestError as error:
            outcome = error.with_traceback(None)
        except BaseException as error:  # noqa: BLE001 - the caller must get an answer
            outcome = _unexpected(error)
        call.seconds = monotonic() - began
        if isinstance(outcome, Stream) and not outcome.ended:
            self._done.append((call, outcome))
            self._wake_loop()
            await outcome.pump_async(self._loop)
        self._leave(call)
        self._done.append((call, outcome))
        self._wake_loop()

    def _enter(self, call: Call) -> float:
        """Note that `run` is about to be called; return the time."""
        call.begun = True
        request_id.set(call.request_id)
        now = monotonic()
        with self._counting:
            if not self.running:
                self._running_since = now
            self.running += 1
        return now

    def _leave(self, call: Call) -> None:
        with self._counting:
            self.running -= 1
            if not self.running:
                self._busy_seconds += monotonic() - self._running_since
        end_lines(call.request_id)
        request_id.set("")  # the loop may run next in this thread, outside of any request

    def _wake_loop(self) -> None:
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._deliver, context=self._context)


def _unexpected(error: BaseException) -> RequestError:
    """Return the answer for a fault of the runtime."""
    traceback.print_exc()
    return RequestError(500, "RuntimeError", f"{type(error).__name__}: {error}")
