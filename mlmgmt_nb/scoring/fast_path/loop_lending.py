"""Run the event loop in the main thread, or temporarily in the driver's thread.

For a brief call, handing it to another thread and its answer back costs more than everything else. So while calls are
brief and frequent, the main thread lends the event loop to the driver's thread, which alternates between one turn of
the loop and the calls that the turn brought; nothing is handed over. `init` and `run` still see the same thread, and no
loop runs in it while `run` is called. The main thread watches: if a call turns out not to be brief, it takes the loop
back during the call, so that health checks are still answered and limits enforced.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

__all__ = ["SharedLoop"]

_TICK_SECONDS = 0.005
"""How often the main thread checks whether the driver's thread is stuck in a call."""
_PATIENCE_SECONDS = 0.005
"""How long calls may pause the loop."""
_LOOK_TICKS = 10
_FEW_TURNS = 25
"""The loan ends if there are fewer turns between two checks: watching is not worth its cost for infrequent calls."""


class SharedLoop:
    """An event loop that one thread runs at a time.

    The loop's callbacks may use everything here except `run`, `take`, `pause`, `resume` and `give_back`.

    Attributes:
        loop: the event loop.
        is_lent: the driver's thread runs the loop or is about to. Changes only while the loop does not run, or in its
            callbacks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_lent = False
        self._turn = threading.Lock()  # held by the thread that runs the loop
        self._is_asked = False
        self._on_taken: Callable[[], object] = lambda: None
        self._back = threading.Event()
        self._paused_since = 0.0
        self._turns_run = 0
        self._failure: BaseException | None = None

    def run(self, main: Coroutine[Any, Any, int]) -> int:
        """Run a coroutine to its end from the main thread, whichever thread runs the loop."""
        task = self.loop.create_task(main)
        task.add_done_callback(self._end)
        with self._turn:
            while not task.done():
                self.loop.run_forever()
                if self._is_asked:
                    self._watch()
            self._end()  # one more turn: a pending stop must not end a later run
            self.loop.run_forever()
        return task.result()

    def lend(self, on_taken: Callable[[], object]) -> None:
        """Release the loop at the end of this turn, for the driver's thread to `take`.

        Args:
            on_taken: called in the loop if the main thread took it back during a call.
        """
        self._on_taken = on_taken
        self.is_lent = self._is_asked = True
        self.loop.stop()

    def call_back(self) -> None:
        """End the loan, if there is any, after this turn of the loop."""
        if self.is_lent:
            self._end()

    def _end(self, _: object = None) -> None:
        self.is_lent = False
        self.loop.stop()

    def _watch(self) -> None:
        """Wait until the loop is given back, or take it back."""
        self._is_asked = False
        self._back.clear()
        self._paused_since = monotonic()  # the loop is paused until the other thread takes it
        self._turn.release()
        ticks, seen = 0, self._turns_run
        while not self._back.wait(_TICK_SECONDS):
            since = self._paused_since
            if since and monotonic() - since >= _PATIENCE_SECONDS and self._turn.acquire(blocking=False):
                self.is_lent = False
                self.loop.call_soon(self._on_taken)
                return
            ticks += 1
            if ticks % _LOOK_TICKS == 0:
                if self._turns_run - seen < _FEW_TURNS:
                    self.loop.call_soon_threadsafe(self.call_back)
                seen = self._turns_run
        self._turn.acquire()
        if self._failure is not None:
            raise self._failure

    # called in the driver's thread

    def take(self) -> bool:
        """Wait for the loop; return False if it is no longer lent."""
        while self.is_lent:
            if self._turn.acquire(timeout=_TICK_SECONDS):
                self._paused_since = 0.0
                return True
        return False

    def run_turn(self) -> None:
        """Run the loop until one of its callbacks stops it."""
        self._turns_run += 1
        try:
            self.loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - for the main thread, which would end by it, too
            self._failure = error
            self.is_lent = False

    def pause(self) -> None:
        """Pause the loop for calls."""
        self._paused_since = monotonic()
        self._turn.release()

    def resume(self) -> bool:
        """Resume the loop; return False if the main thread took it meanwhile."""
        if not self._turn.acquire(blocking=False):
            return False
        self._paused_since = 0.0
        return True

    def give_back(self) -> None:
        """End the loan."""
        self.is_lent = False
        self._back.set()
        self._turn.release()
