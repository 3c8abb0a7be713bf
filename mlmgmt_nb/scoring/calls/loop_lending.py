"""Who runs the event loop: the main thread, or for a while the driver's.

To hand a call to another thread and its answer back costs more than all else that is done for a brief one. So the main
thread lends the event loop to the driver's thread while calls are brief and come thick: that runs the loop for a turn,
then the calls which the turn has brought, and so on, and nothing is handed over. `init` and `run` see the same thread
as ever, and no loop runs in it when `run` is called. The main thread watches meanwhile: when a call is not brief after
all, it takes the loop in the middle of it, so that health checks are answered and limits kept as ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

__all__ = ["Turns"]

_TICK_SECONDS = 0.005
"""How often the main thread looks whether the driver's thread is stuck in a call."""
_PATIENCE_SECONDS = 0.005
"""How long the loop may stand still for calls."""
_LOOK_TICKS = 10
_FEW_TURNS = 25
"""The loan ends when there are fewer between two looks at their number: what is seldom is not worth the watch."""


class Turns:
    """An event loop that one thread runs at a time.

    The loop's callbacks may use everything here but `run`, `take`, `pause`, `resume` and `give_back`.

    Attributes:
        loop: the event loop.
        is_lent: it is, or is about to be, the driver's thread that runs the loop. Changes only while the loop does not
            run, or in its callbacks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_lent = False
        self._turn = threading.Lock()  # held by whoever runs the loop
        self._is_asked = False
        self._on_taken: Callable[[], object] = lambda: None
        self._back = threading.Event()
        self._paused_since = 0.0
        self._turns_run = 0
        self._failure: BaseException | None = None

    def run(self, main: Coroutine[Any, Any, int]) -> int:
        """Run a coroutine to its end, in the main thread, whoever runs the loop."""
        task = self.loop.create_task(main)
        task.add_done_callback(self._end)
        with self._turn:
            while not task.done():
                self.loop.run_forever()
                if self._is_asked:
                    self._watch()
            self._end()  # one more turn: a stop that is still due must not end what is run after this
            self.loop.run_forever()
        return task.result()

    def lend(self, on_taken: Callable[[], object]) -> None:
        """Lets go of the loop at the end of this turn; the driver's thread is to `take` it.

        Args:
            on_taken: called in the loop when it was taken in the middle of a call.
        """
        self._on_taken = on_taken
        self.is_lent = self._is_asked = True
        self.loop.stop()

    def call_back(self) -> None:
        """End the loan, if there is one, with this turn of the loop."""
        if self.is_lent:
            self._end()

    def _end(self, _: object = None) -> None:
        self.is_lent = False
        self.loop.stop()

    def _watch(self) -> None:
        """Wait until the loop is given back, or take it."""
        self._is_asked = False
        self._back.clear()
        self._paused_since = monotonic()  # until the other thread takes it, it stands still
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

    # in the driver's thread

    def take(self) -> bool:
        """Wait for the loop; False when it is not lent any more."""
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
        """Lets the loop stand still for calls."""
        self._paused_since = monotonic()
        self._turn.release()

    def resume(self) -> bool:
        """Goes on with the loop; False when it was taken meanwhile."""
        if not self._turn.acquire(blocking=False):
            return False
        self._paused_since = 0.0
        return True

    def give_back(self) -> None:
        """End the loan."""
        self.is_lent = False
        self._back.set()
        self._turn.release()
