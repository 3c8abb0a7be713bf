"""`OperationPanel`: the live progress of an operation, with its stage and log."""

from __future__ import annotations

import threading
import time
from typing import Any

from mlmgmt_nb.client import Poller
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.errors import OperationTimeout
from mlmgmt_nb.notebook.display.card import bundle
from mlmgmt_nb.notebook.display.html import CSS
from mlmgmt_nb.notebook.display.live import Live
from mlmgmt_nb.notebook.panels.operation.state import Progress
from mlmgmt_nb.notebook.panels.refresh import REFRESH_THREAD, RefreshThread

__all__ = ["OperationPanel"]

_QUIET_SECONDS = 0.3
"""Shorter operations are not shown."""
_TICK_SECONDS = 0.25
_LAST_PICTURE_SECONDS = 5.0


class OperationPanel:
    """The live view of an operation in a notebook: state, stage, duration and log. It updates after the cell has ended.

    Display it (`OperationPanel(ws.images.create(...))` at the end of a cell), or call `wait`, which displays it.
    Closing the panel or interrupting the cell does not stop the operation.

    Args:
        poller: the operation.
        live: the output to use, which may already show something else (default: a new output).
        refresh: the thread that updates the panel.
    """

    def __init__(
        self, poller: Poller[Any], *, live: Live | None = None, refresh: RefreshThread = REFRESH_THREAD
    ) -> None:
        self._poller = poller
        self._refresh = refresh
        self._live = live or Live()
        self._lock = ForkLock()
        self._last_picture = threading.Event()
        self.progress = Progress(poller)

    def show(self) -> None:
        """Display the panel, and update it in the background."""
        with self._lock:
            self._draw()
        # State changes are shown immediately, the log and the duration at each tick.
        self._poller.add_change_callback(lambda _: self._refresh.follow(self._tick))
        self._refresh.follow(self._tick)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the operation has ended, and show it unless it succeeds quickly.

        Args:
            timeout: maximum number of seconds to wait (default: unlimited).

        Raises:
            OperationFailed: it ended `Failed` or `Cancelled`.
            OperationTimeout: it did not end within `timeout` seconds.
            KeyboardInterrupt: the cell was interrupted; the operation and the panel continue.
        """
        started = time.monotonic()
        try:
            if self._finishes_quickly(timeout):
                self._explain()
            else:
                self.show()
                self._poller.wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - started)))
                # The last picture must be drawn before the cell ends: it is saved with the notebook.
                self._last_picture.wait(_LAST_PICTURE_SECONDS)
        except (KeyboardInterrupt, OperationTimeout):
            self.progress.note = (
                f"the operation continues; wait for it with `%mlmgmt operation watch {self._poller.operation_id}`"
            )
            self.show()  # again: the interrupt may have come during the first display
            raise
        self._poller.result()

    def _explain(self) -> None:
        """Show the operation if it failed quickly: its log has the reason."""
        if self.progress.state != "Succeeded":
            self.progress.poll()
            self._draw()

    def _finishes_quickly(self, timeout: float | None) -> bool:
        try:
            self._poller.wait(_QUIET_SECONDS if timeout is None else min(timeout, _QUIET_SECONDS))
        except OperationTimeout:
            return False
        return True

    def _tick(self) -> float | None:
        """Poll and draw, in the refresh thread. Return the seconds until the next tick, or None after the last."""
        if self._last_picture.is_set():
            return None
        is_last = self._poller.done()
        self.progress.poll()
        with self._lock:
            self._draw()
        if is_last:
            self._last_picture.set()
            return None
        return _TICK_SECONDS

    def _draw(self) -> None:
        markup = f'<div class="mlmgmt"><style>{CSS}</style>{self.progress.html()}</div>'
        self._live.show(bundle(self.progress.text(), markup))

    def _ipython_display_(self) -> None:
        self.show()
