"""`OperationPanel`: an operation while it goes on, with its stage and its log."""

from __future__ import annotations

import threading
import time
from typing import Any

from mlmgmt_nb.client import Poller
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.errors import OperationTimeout
from mlmgmt_nb.notebook.display.cards import bundle
from mlmgmt_nb.notebook.display.html import CSS
from mlmgmt_nb.notebook.display.live import Live
from mlmgmt_nb.notebook.panels.operation.state import Progress
from mlmgmt_nb.notebook.panels.refresh import FEED, Feed

__all__ = ["OperationPanel"]

_QUIET_SECONDS = 0.3
"""What takes no longer needs no panel."""
_TICK_SECONDS = 0.25
_LAST_PICTURE_SECONDS = 5.0


class OperationPanel:
    """Shows an operation in a notebook: its state, stage, time and log, while the cell runs and after it has ended.

    Display it (`OperationPanel(ws.images.create(...))` at the end of a cell), or have `wait` do so. Nothing that is
    done with the panel, or to the cell, stops the operation.

    Args:
        poller: the operation.
        feed: ticks it.
    """

    def __init__(self, poller: Poller[Any], *, feed: Feed = FEED) -> None:
        self._poller = poller
        self._feed = feed
        self._live = Live()
        self._lock = ForkLock()
        self._last_picture = threading.Event()
        self.progress = Progress(poller)

    def show(self) -> None:
        """Display it; it moves by itself from then on."""
        with self._lock:
            self._draw()
        # A change of the state is shown at once, the log and the time by the clock.
        self._poller.add_change_callback(lambda _: self._feed.follow(self._tick))
        self._feed.follow(self._tick)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the operation has ended; shows it when that takes a moment.

        Args:
            timeout: most seconds to wait; without end when None.

        Raises:
            OperationFailed: it ended `Failed` or `Cancelled`.
            OperationTimeout: it has not ended after `timeout` seconds.
            KeyboardInterrupt: the cell was interrupted; the operation goes on, and so does the panel.
        """
        started = time.monotonic()
        try:
            if self._ends_quickly(timeout):
                self._explain()
            else:
                self.show()
                self._poller.wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - started)))
                # The picture that is saved with the notebook is the last one.
                self._last_picture.wait(_LAST_PICTURE_SECONDS)
        except (KeyboardInterrupt, OperationTimeout):
            self.progress.note = f"it goes on; `%mlmgmt operation watch {self._poller.operation_id}` waits for it"
            self.show()  # all of it once more: the interrupt may have come in the middle of that
            raise
        self._poller.result()

    def _explain(self) -> None:
        """Show what ended at once, unless it ended well: its log has the reason."""
        if self.progress.state != "Succeeded":
            self.progress.look()
            self._draw()

    def _ends_quickly(self, timeout: float | None) -> bool:
        try:
            self._poller.wait(_QUIET_SECONDS if timeout is None else min(timeout, _QUIET_SECONDS))
        except OperationTimeout:
            return False
        return True

    def _tick(self) -> float | None:
        """In the feed's thread."""
        if self._last_picture.is_set():
            return None
        is_last = self._poller.done()
        self.progress.look()
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
