"""Call `init` and `run` in the driver's thread, one call after the other or as the driver declares.

Both are always called in a separate thread (`run` in several, if the driver declares that), so that the event loop
keeps answering health checks. Handing calls over is expensive, because each wake-up takes the interpreter away from the
other side. So calls are handed over once per turn of the loop; the fast path avoids even that for brief calls.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from time import monotonic

from mlmgmt_nb.scoring.calls.batcher import Batcher
from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.context import request_id
from mlmgmt_nb.scoring.driver.driver import Driver, Outcome
from mlmgmt_nb.scoring.driver.output import end_lines
from mlmgmt_nb.scoring.driver.streaming import Stream
from mlmgmt_nb.scoring.errors import LoadError, RequestError

__all__ = ["Admitted", "Deliver", "Runner"]

Deliver = Callable[[Call, Outcome | RequestError], None]
Admitted = Callable[[], int]

_NO_STREAM = RequestError(500, "ResultError", "a batched run() must return one item per row, not a generator")
_SWITCH_SECONDS = 0.001
"""Switch interval when several threads run the driver: with Python's 5 ms they wait for each other."""


class Runner:
    """The calls of one driver. Unless marked otherwise, methods belong to the event loop.

    Args:
        loop: the event loop.
        deliver: called in the event loop with each call and its outcome.
        admitted: returns the number of admitted calls. Called in any thread.

    Attributes:
        loop: the event loop.
        running: number of running calls.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Deliver,
        admitted: Admitted,
    ) -> None:
        self.running = 0
        self.loop = loop
        self._context = copy_context()  # outside of any request
        self._deliver_one = deliver
        self._admitted = admitted
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._submitted: list[Call] = []
        self._done: deque[tuple[Call, Outcome | RequestError]] = deque()
        self._waking = False
        self._stopping = False
        self._driver_loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._counting = threading.Lock()
        self._running_since = 0.0
        self._busy_seconds = 0.0

    async def start(self, load: Callable[[], Driver]) -> Driver:
        """Load the driver in its thread.

        Raises:
            LoadError: the driver cannot be loaded.
        """
        loaded: asyncio.Future[Driver] = self.loop.create_future()
        threading.Thread(target=self._work, args=(load, loaded), name="driver", daemon=True).start()
        return await loaded

    def stop(self) -> None:
        """End the thread after the calls submitted so far, without waiting for them."""
        self._stopping = True
        self._queue.put(None)
        if self._driver_loop is not None:
            self._driver_loop.call_soon_threadsafe(self._driver_loop.stop)

    def submit(self, driver: Driver, call: Call) -> None:
        """Queue a call of `run`."""
        if self._driver_loop is not None:
            self._driver_loop.call_soon_threadsafe(self._start_async, driver, call)
        else:
            if not self._submitted:
                self.loop.call_soon(self._hand_over, context=self._context)
            self._submitted.append(call)

    def busy_seconds(self) -> float:
        """Return the time spent in the driver, including the current call."""
        running, since = self.running, self._running_since
        return self._busy_seconds + (monotonic() - since if running and since else 0.0)

    def _hand_over(self) -> None:
        """Wake the driver's thread once for all calls that were submitted in this turn of the loop."""
        for call in self._submitted:
            self._queue.put(call)
        self._submitted.clear()

    def _deliver(self) -> None:
        self._waking = False
        while self._done:
            self._deliver_one(*self._done.popleft())

    # in the driver's thread

    def _work(self, load: Callable[[], Driver], loaded: asyncio.Future[Driver]) -> None:
        loop = _thread_loop()
        self._load_and_work(load, loaded, loop)
        if loop is not self._driver_loop:  # other threads still wake the driver's loop while it ends
            loop.close()

    def _load_and_work(
        self, load: Callable[[], Driver], loaded: asyncio.Future[Driver], loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            driver = load()
        except LoadError as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            self.loop.call_soon_threadsafe(loaded.set_exception, error)
            return
        except BaseException as error:  # noqa: BLE001 - our own faults must reach the supervisor too
            traceback.print_exc()
            failure = LoadError("RuntimeError", f"{type(error).__name__}: {error}")
            self.loop.call_soon_threadsafe(loaded.set_exception, failure)
            return
        if driver.is_async:
            self._work_async(driver, loaded, loop)
            return
        # loaded objects stay, so the garbage collector need not traverse them
        gc.freeze()
        self.loop.call_soon_threadsafe(loaded.set_result, driver)
        if driver.batch is not None and driver.schema is not None:
            self._work_batches(Batcher(driver.batch, driver.run, driver.schema.input, driver.answer))
            return
        self._work_in_threads(driver)

    def _work_in_threads(self, driver: Driver) -> None:
        if driver.threads > 1:
            sys.setswitchinterval(_SWITCH_SECONDS)
        for number in range(2, driver.threads + 1):
            threading.Thread(target=self._work_further, args=(driver,), name=f"driver-{number}", daemon=True).start()
        self._work_calls(driver)

    def _work_further(self, driver: Driver) -> None:
        loop = _thread_loop()
        self._work_calls(driver)
        loop.close()

    def _work_calls(self, driver: Driver) -> None:
        while (call := self._queue.get()) is not None:
            self._call(driver, call)
            self._wake_loop()
            self._after_call(driver)
        self._queue.put(None)  # ends the next thread

    def _after_call(self, driver: Driver) -> None:
        """React to the end of a call; a hook for subclasses."""

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
            outcome.pump(self.loop)
        self._leave(call)
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

    def _work_async(self, driver: Driver, loaded: asyncio.Future[Driver], loop: asyncio.AbstractEventLoop) -> None:
        """Run the event loop of the driver, in which its calls run concurrently."""
        self._driver_loop = loop
        loop.call_soon(self.loop.call_soon_threadsafe, loaded.set_result, driver)
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
            await outcome.pump_async(self.loop)
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
            try:
                self.loop.call_soon_threadsafe(self._deliver, context=self._context)
            except RuntimeError:  # the loop is closed: `stop` does not wait for this thread, and no caller is left
                if not self._stopping:
                    raise


def _thread_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, which `asyncio.get_event_loop()` returns in this thread.

    Drivers use it to wait for coroutines: original servers call `init` and `run` in the main thread, which has a loop.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def _unexpected(error: BaseException) -> RequestError:
    """Return the answer for a fault of the runtime."""
    traceback.print_exc()
    return RequestError(500, "RuntimeError", f"{type(error).__name__}: {error}")
