"""State of an operation, and its text and HTML, without display."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlmgmt_nb.client import Poller
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.client.monitoring.failures import driver_traceback, last_rollout
from mlmgmt_nb.client.monitoring.log_lines import readable
from mlmgmt_nb.client.monitoring.stages import Stage
from mlmgmt_nb.contract import AsyncOperationStatus, ErrorResponse, Image
from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.notebook.display.card import badge
from mlmgmt_nb.notebook.display.html import ErrorText, alert, escape, link, log_lines, progress_bar

__all__ = ["OperationResult", "Progress"]

_SHOWN_LINES, _FOLDED_LINES, _KEPT_LINES = 6, 60, 500
_OPEN = frozenset({"NotStarted", "Running"})
_CLOCKS_DIFFER_SECONDS = 5.0


class OperationResult(NamedTuple):
    """The result of an operation: its title, its API URL, and its image location or scoring URL."""

    title: str
    url: str
    place: str


class Progress:
    """The progress of an operation.

    Args:
        poller: the operation.
        clock: monotonic clock, in seconds.

    Attributes:
        lines: the last lines of its log.
        made: the result, after the operation has succeeded.
        note: an additional note for the user.
        log_error: the reason why the log cannot be read, or "".
    """

    def __init__(self, poller: Poller[Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._poller = poller
        self._clock = clock
        self._started = clock()
        self._earlier: float | None = None
        self._ended: float | None = None
        self._offset: int | None = None
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._stage = Stage()
        self.made: OperationResult | None = None
        self.note = ""
        self.log_error = ""

    @property
    def state(self) -> str:
        """The last known state."""
        return self._poller.status()

    @property
    def is_open(self) -> bool:
        return self.state in _OPEN

    @property
    def kind(self) -> str:
        """`image`, `service` or `operation`."""
        operation = self._poller.operation
        return ((operation.operation_type if operation else None) or "operation").lower()

    @property
    def seconds(self) -> float:
        """The duration so far, or the total duration after the operation has ended."""
        operation = self._poller.operation
        if operation and operation.created_time and operation.end_time:
            return max(0.0, (operation.end_time - operation.created_time).total_seconds())
        return (self._clock() if self._ended is None else self._ended) - self._started + (self._earlier or 0.0)

    @property
    def error(self) -> ErrorResponse | None:
        return self._poller.operation.error if self._poller.operation else None

    @passive()
    def poll(self) -> None:
        """Read new log lines and, after the operation has ended, its result."""
        operation = self._poller.operation
        if self._earlier is None and operation is not None:
            self._earlier = _age(operation)
        if not self.is_open and self._ended is None:
            self.made = self._find_result()
            self._ended = self._clock()
        self._read_log()

    def _read_log(self) -> None:
        try:
            part = self._poller.log(tail=_KEPT_LINES) if self._offset is None else self._poller.log(offset=self._offset)
        except MlmgmtError as error:
            self.log_error = f"the log cannot be read: {str(error).splitlines()[0]}"
            return
        self.log_error = ""
        lines = part.text.splitlines()
        if self._offset is None:
            lines = last_rollout(lines)
        self._offset = part.next_offset
        self.lines.extend(lines)
        self._stage.read(lines)

    def _find_result(self) -> OperationResult | None:
        operation = self._poller.operation
        if operation is None or operation.state != "Succeeded":
            return None
        try:
            resource = self._poller.result()
        except MlmgmtError:  # deleted, or the server cannot be reached; the operation succeeded anyway
            return None
        place = resource.image_location if isinstance(resource, Image) else resource.scoring_uri
        version = f" version {resource.version}" if isinstance(resource, Image) else ""
        return OperationResult(f"{self.kind} {resource.name}{version}", operation.resource_location or "", place or "")

    def stage(self) -> str:
        """Return the stage (see `Stage`), or "" after the operation has ended."""
        return str(self._stage) if self.is_open else ""

    def part(self) -> float | None:
        """Return the completed fraction, from 0 to 1; None if unknown."""
        return self._stage.part

    def traceback(self) -> list[str]:
        """Return the last driver traceback in the log of a failed operation; an empty list if there is none."""
        return driver_traceback(list(self.lines)) if self.state == "Failed" else []

    def text(self) -> str:
        """Return the text for viewers without HTML."""
        parts = [f"{self.kind} {self.state}, {int(self.seconds)} s", self.stage()]
        head = ", ".join(filter(None, parts)) + (f" ({self.note})" if self.note else "")
        made = [f"{self.made.title}: {self.made.place or self.made.url}"] if self.made else []
        return "\n".join([head, *made, *self._reasons()])

    def html(self) -> str:
        """Return the HTML, with text from the server escaped."""
        facts = [f"{self.kind}, {int(self.seconds)} s", self.stage(), self.note, self.log_error]
        shown = escape(" \N{MIDDLE DOT} ".join(filter(None, facts)))
        # Each tick changes the seconds, so screen readers announce only the end with its result.
        silent = ' aria-live="off"' if self._ended is None else ""
        head = f'<div role="status"{silent}>{badge(self.state)} {shown}{self._links()}</div>'
        if self.is_open:
            bar = progress_bar(self.stage() or "running", self.part())
            return f"{head}{bar}{log_lines(self._last_lines(_SHOWN_LINES))}"
        reasons = self._reasons()
        error = alert(ErrorText(reasons[0], "\n".join(reasons[1:]))) if reasons else ""
        folded = _collapsible("driver's traceback", self.traceback()) + _collapsible(
            "log", self._last_lines(_FOLDED_LINES)
        )
        return f"{head}{error}{folded}"

    def _last_lines(self, most: int) -> list[str]:
        return list(map(readable, list(self.lines)[-most:]))

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
    """Return the age of an operation in seconds; 0 if a clock difference may explain it."""
    if operation.created_time is None:
        return 0.0
    created = operation.created_time
    age = (dt.datetime.now(dt.UTC) - (created if created.tzinfo else created.replace(tzinfo=dt.UTC))).total_seconds()
    return age if age > _CLOCKS_DIFFER_SECONDS else 0.0


def _collapsible(title: str, lines: Sequence[str]) -> str:
    """Return lines in a collapsible element, which works without a kernel."""
    return f"<details><summary>{title}</summary>{log_lines(lines)}</details>" if lines else ""
