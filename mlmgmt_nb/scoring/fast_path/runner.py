"""The driver's thread borrows the event loop while calls are brief and frequent.

Handing a call over is expensive, because each wake-up takes the interpreter away from the other side: see `SharedLoop`.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty
from time import monotonic

from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.calls.runner import Admitted, Deliver, Runner
from mlmgmt_nb.scoring.driver.driver import Driver
from mlmgmt_nb.scoring.fast_path.loop_lending import SharedLoop

__all__ = ["LendingRunner"]

_BRIEF_SECONDS = 0.0003
"""Calls that usually take less than this are better not handed over."""
_USUAL_CALLS = 8
"""Number of calls in the moving average of durations."""
_FREQUENT_SECONDS = 0.002
"""Calls are frequent if new ones arrive within this time after the previous ones."""
_BORROWED_SECONDS = 0.001
"""How long the driver's thread calls `run` before the next turn of the borrowed loop."""


class LendingRunner(Runner):
    """The calls of one driver. Unless marked otherwise, methods belong to the event loop.

    Args:
        shared_loop: the event loop, for the driver's thread to borrow.
    """

    def __init__(self, shared_loop: SharedLoop, deliver: Deliver, admitted: Admitted) -> None:
        super().__init__(shared_loop.loop, deliver, admitted)
        self._shared_loop = shared_loop
        self._borrowed_calls: deque[Call] = (
            deque()
        )  # calls of the current turn, while the driver's thread runs the loop
        self._may_lend = False
        self._usual_seconds = 1.0
        self._handed_over = 0.0

    def stop(self) -> None:
        self._shared_loop.call_back()
        super().stop()

    def submit(self, driver: Driver, call: Call) -> None:
        if not self._shared_loop.is_lent:
            super().submit(driver, call)
            return
        if not self._borrowed_calls:
            self.loop.stop()
        self._borrowed_calls.append(call)

    def _hand_over(self) -> None:
        """Wake the driver's thread once for all calls that were submitted in this turn of the loop."""
        before, self._handed_over = self._handed_over, monotonic()
        are_frequent = self._handed_over - before < _FREQUENT_SECONDS
        if self._may_lend and are_frequent and self._usual_seconds < _BRIEF_SECONDS and not self.running:
            first, *others = self._submitted
            self._borrowed_calls.extend(others)
            self._shared_loop.lend(self._deliver)
            self._queue.put(first)
            self._submitted.clear()
        else:
            super()._hand_over()

    # in the driver's thread

    def _work_in_threads(self, driver: Driver) -> None:
        self._may_lend = driver.threads == 1
        super()._work_in_threads(driver)

    def _after_call(self, driver: Driver) -> None:
        if self._shared_loop.is_lent or self._borrowed_calls:
            self._run_loop_and_calls(driver)

    def _call(self, driver: Driver, call: Call) -> None:
        began = monotonic()
        super()._call(driver, call)
        if call.begun:
            self._usual_seconds += (monotonic() - began - self._usual_seconds) / _USUAL_CALLS

    def _run_loop_and_calls(self, driver: Driver) -> None:
        """Alternate between the loop and the calls that it brings."""
        shared_loop = self._shared_loop
        if shared_loop.take():
            self._take_queued()
            while shared_loop.is_lent:
                if self._borrowed_calls:
                    self.loop.stop()
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
