"""What is known of an operation, and its picture; without any display."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlmgmt_nb.client import Poller
from mlmgmt_nb.contract import AsyncOperationStatus, ErrorResponse, Image
from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.notebook.display.cards import badge
from mlmgmt_nb.notebook.display.html import Trouble, alert, escape, link, log_lines, progress_bar

__all__ = ["Made", "Progress"]

_SHOWN_LINES, _FOLDED_LINES, _KEPT_LINES = 6, 60, 500
_STEP = re.compile(r"\[(\d+)/(\d+)\] (.*)")
_READY = re.compile(r"\[mlmgmt\] replicas ready (\d+)/(\d+)")
_ROLLOUT_ENDS = ("[mlmgmt] deployed", "[mlmgmt] the deployment failed", "[mlmgmt] the deployment was cancelled")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_OPEN = frozenset({"NotStarted", "Running"})
_CLOCKS_DIFFER_SECONDS = 5.0


class Made(NamedTuple):
    """What an operation has made: what it is, where the API has it, and where it can be used."""

    title: str
    url: str
    place: str


class Progress:
    """What is known of an operation.

    Args:
        poller: the operation.
        clock: seconds, monotonic.

    Attributes:
        lines: the end of its log.
        step: the step that its log came to: its number, how many there are, what it does. None where it tells none.
        ready: how many replicas are ready, and how many are to be; None where its log does not tell.
        made: what it has made, once it has succeeded.
        note: what a user should know besides.
        trouble: why its log cannot be read, if so.
    """

    def __init__(self, poller: Poller[Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._poller = poller
        self._clock = clock
        self._started = clock()
        self._earlier: float | None = None
        self._ended: float | None = None
        self._offset: int | None = None
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.step: tuple[int, int, str] | None = None
        self.ready: tuple[int, int] | None = None
        self.made: Made | None = None
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
        """How long it has been going on; since it ended, how long that was."""
        operation = self._poller.operation
        if operation and operation.created_time and operation.end_time:
            return max(0.0, (operation.end_time - operation.created_time).total_seconds())
        return (self._clock() if self._ended is None else self._ended) - self._started + (self._earlier or 0.0)

    @property
    def error(self) -> ErrorResponse | None:
        return self._poller.operation.error if self._poller.operation else None

    def look(self) -> None:
        """Read what is new in the log and, at the end, what was made."""
        operation = self._poller.operation
        if self._earlier is None and operation is not None:
            self._earlier = _age(operation)
        if not self.is_open and self._ended is None:
            self._ended = self._clock()
            self.made = self._find_made()
        self._read_log()

    def _read_log(self) -> None:
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
            elif found := _READY.match(line):
                self.ready = (int(found[1]), int(found[2]))

    def _find_made(self) -> Made | None:
        operation = self._poller.operation
        if operation is None or operation.state != "Succeeded":
            return None
        try:
            resource = self._poller.result()
        except MlmgmtError:  # it is gone again, or cannot be asked for now: the operation did succeed
            return None
        place = resource.image_location if isinstance(resource, Image) else resource.scoring_uri
        version = f" version {resource.version}" if isinstance(resource, Image) else ""
        return Made(f"{self.what} {resource.name}{version}", operation.resource_location or "", place or "")

    def stage(self) -> str:
        """`step 3 of 4: requirements`, `replicas ready 1/2`, or nothing."""
        if not self.is_open:
            return ""
        if self.step:
            return "step {} of {}: {}".format(*self.step)
        return "replicas ready {}/{}".format(*self.ready) if self.ready else ""

    def part(self) -> float | None:
        """How much is done, from 0 to 1; None where nothing tells."""
        if self.step:
            return (self.step[0] - 0.5) / self.step[1]
        return self.ready[0] / self.ready[1] if self.ready and self.ready[1] else None

    def traceback(self) -> list[str]:
        """Return the last traceback in the log of what failed: the driver's. Empty where there is none."""
        return _last_traceback(list(self.lines)) if self.state == "Failed" else []

    def text(self) -> str:
        """For where there is no HTML."""
        parts = [f"{self.what} {self.state}, {int(self.seconds)} s", self.stage()]
        head = ", ".join(filter(None, parts)) + (f" ({self.note})" if self.note else "")
        made = [f"{self.made.title}: {self.made.place or self.made.url}"] if self.made else []
        return "\n".join([head, *made, *self._reasons()])

    def html(self) -> str:
        """For a notebook. Whatever comes from the server is escaped."""
        facts = [f"{self.what}, {int(self.seconds)} s", self.stage(), self.note, self.trouble]
        shown = escape(" \N{MIDDLE DOT} ".join(filter(None, facts)))
        head = f'<div role="status">{badge(self.state)} {shown}{self._links()}</div>'
        if self.is_open:
            bar = progress_bar(self.stage() or "under way", self.part())
            return f"{head}{bar}{log_lines(list(self.lines)[-_SHOWN_LINES:])}"
        reasons = self._reasons()
        error = alert(Trouble(reasons[0], "\n".join(reasons[1:]))) if reasons else ""
        folded = _folded("driver's traceback", self.traceback()) + _folded("log", list(self.lines)[-_FOLDED_LINES:])
        return f"{head}{error}{folded}"

    def _links(self) -> str:
        if self.made is None:
            return ""
        place = f" \N{MIDDLE DOT} {link(self.made.place)}" if self.made.place else ""
        return f" \N{MIDDLE DOT} {link(self.made.url, self.made.title)}{place}"

    def _reasons(self) -> list[str]:
        error = self.error
        if error is None:
            return []
        details = [detail.message for detail in error.details or () if detail.code != "Log"]
        return [reason for reason in (error.message, *details) if reason]


def _age(operation: AsyncOperationStatus) -> float:
    """How long an operation has been going on already; nothing where the clocks of here and there may explain it."""
    if operation.created_time is None:
        return 0.0
    created = operation.created_time
    age = (dt.datetime.now(dt.UTC) - (created if created.tzinfo else created.replace(tzinfo=dt.UTC))).total_seconds()
    return age if age > _CLOCKS_DIFFER_SECONDS else 0.0


def _folded(title: str, lines: Sequence[str]) -> str:
    """Lines that a click or the keyboard unfolds, with a kernel or without."""
    return f"<details><summary>{title}</summary>{log_lines(lines)}</details>" if lines else ""


def _of_last_rollout(lines: list[str]) -> list[str]:
    """Return the lines of a service's log since its last rollout but one has ended: a log begins with the service's first."""
    ends = [place for place, line in enumerate(lines[:-1]) if line.startswith(_ROLLOUT_ENDS)]
    return lines[ends[-1] + 1 :] if ends else lines


def _last_traceback(lines: list[str]) -> list[str]:
    starts = [place for place, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not starts:
        return []
    end = next((at for at in range(starts[-1], len(lines)) if lines[at].startswith("[mlmgmt] ")), len(lines))
    first = starts.pop()
    # One exception that led to another: a blank line, the words that say so, and a blank line.
    while starts and any(line.startswith(_CHAINED) for line in lines[max(0, first - 3) : first]):
        first = starts.pop()
    return lines[first:end]
