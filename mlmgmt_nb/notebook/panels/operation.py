"""`OperationPanel`: an operation while it goes on, with its stage and its log."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.client import Poller
from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.errors import MlmgmtError, OperationTimeout
from mlmgmt_nb.notebook.display import badge, bundle
from mlmgmt_nb.notebook.panels.feed import FEED, Feed
from mlmgmt_nb.notebook.panels.live import Live
from mlmgmt_nb.notebook.panels.markup import escape, log_lines, progress_bar

__all__ = ["OperationPanel", "Progress"]

_QUIET_SECONDS = 0.3
"""What takes no longer needs no panel."""
_TICK_SECONDS = 0.25
_LAST_PICTURE_SECONDS = 5.0
_SHOWN_LINES, _KEPT_LINES = 6, 60
_STEP = re.compile(r"\[(\d+)/(\d+)\] (.*)")
_ROLLOUT_ENDS = ("[mlmgmt] deployed", "[mlmgmt] the deployment failed", "[mlmgmt] the deployment was cancelled")
_OPEN = frozenset({"NotStarted", "Running"})


class Progress:
    """What is known of an operation, without any display.

    Args:
        poller: the operation.
        clock: seconds, monotonic.

    Attributes:
        lines: the end of its log.
        step: the step that its log came to: its number, how many there are, what it does. None where it tells none.
        note: what a user should know besides.
        trouble: why its log cannot be read, if so.
    """

    def __init__(self, poller: Poller[Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._poller = poller
        self._clock = clock
        self._started = clock()
        self._ended: float | None = None
        self._offset: int | None = None
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.step: tuple[int, int, str] | None = None
        self.note = ""
        self.trouble = ""

    @property
    def state(self) -> str:
        """The state that was seen last."""
        return self._poller.status()

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN

    @property
    def what(self) -> str:
        """`image`, `service` or `operation`."""
        operation = self._poller.operation
        return ((operation.operation_type if operation else None) or "operation").lower()

    @property
    def seconds(self) -> float:
        """How long it has been watched; since it ended, how long that was."""
        return (self._clock() if self._ended is None else self._ended) - self._started

    @property
    def error(self) -> ErrorResponse | None:
        return self._poller.operation.error if self._poller.operation else None

    def look(self) -> None:
        """Reads what is new in the log."""
        if not self.is_open and self._ended is None:
            self._ended = self._clock()
        try:
            part = self._poller.log(tail=_KEPT_LINES) if self._offset is None else self._poller.log(offset=self._offset)
        except MlmgmtError as error:
            self.trouble = f"its log cannot be read: {str(error).splitlines()[0]}"
            return
        self.trouble = ""
        lines = part.text.splitlines()
        if self._offset is None:
            lines = _of_last_rollout(lines)
        self._offset = part.next_offset
        for line in lines:
            self.lines.append(line)
            if found := _STEP.match(line):
                self.step = (int(found[1]), int(found[2]), found[3])

    def stage(self) -> str:
        """`step 3 of 4: requirements`, or nothing."""
        return "step {} of {}: {}".format(*self.step) if self.step and self.is_open else ""

    def text(self) -> str:
        """For where there is no HTML."""
        parts = [f"{self.what} {self.state}, {int(self.seconds)} s", self.stage()]
        head = ", ".join(filter(None, parts)) + (f" ({self.note})" if self.note else "")
        return "\n".join([head, *self._reasons()])

    def html(self) -> str:
        """For a notebook. Whatever comes from the server is escaped."""
        facts = [f"{self.what}, {int(self.seconds)} s", self.stage(), self.note, self.trouble]
        shown = escape(" \N{MIDDLE DOT} ".join(filter(None, facts)))
        head = f'<div role="status">{badge(self.state)} {shown}</div>'
        if self.is_open:
            return f"<div>{head}{self._bar()}{log_lines(list(self.lines)[-_SHOWN_LINES:])}</div>"
        reasons = "".join(f'<div role="alert">{escape(reason)}</div>' for reason in self._reasons())
        log = f"<details><summary>log</summary>{log_lines(list(self.lines))}</details>" if self.lines else ""
        return f"<div>{head}{reasons}{log}</div>"

    def _reasons(self) -> list[str]:
        error = self.error
        if error is None:
            return []
        details = [detail.message for detail in error.details or () if detail.code != "Log"]
        return [reason for reason in (error.message, *details) if reason]

    def _bar(self) -> str:
        """How far it is."""
        return progress_bar(self.stage() or "under way", (self.step[0] - 0.5) / self.step[1] if self.step else None)


def _of_last_rollout(lines: list[str]) -> list[str]:
    """The lines of a service's log since its last rollout but one has ended: a log begins with the service's first."""
    ends = [place for place, line in enumerate(lines[:-1]) if line.startswith(_ROLLOUT_ENDS)]
    return lines[ends[-1] + 1 :] if ends else lines


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
        self._lock = threading.Lock()
        self._last_picture = threading.Event()
        self.progress = Progress(poller)

    def show(self) -> None:
        """Displays it; it moves by itself from then on."""
        with self._lock:
            self._draw()
        # A change of the state is shown at once, the log and the time by the clock.
        self._poller.add_change_callback(lambda _: self._feed.follow(self._tick))
        self._feed.follow(self._tick)

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the operation has ended; shows it when that takes a moment.

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
            if not self._live.is_displayed:
                self.show()
            with self._lock:
                self._draw()
            raise
        self._poller.result()

    def _explain(self) -> None:
        """Shows what ended at once, unless it ended well: its log has the reason."""
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
        self._live.show(bundle(self.progress.text(), self.progress.html()))

    def _ipython_display_(self) -> None:
        self.show()
