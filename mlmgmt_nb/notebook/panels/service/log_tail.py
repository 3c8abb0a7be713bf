"""The log of a service in its panel: the last lines, or only the lines about one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.commands.values import RequestLogFilter

__all__ = ["LogTail"]

_KEPT_LINES, _SEARCHED_LINES = 400, 20_000


class LogTail:
    """The last lines of a service log, or the lines about one request.

    Attributes:
        request_id: id of the request, or "" for all lines.
        lines: the visible lines, oldest first.
    """

    def __init__(self, read: Callable[[int, int | None], Any]) -> None:
        self._read = read
        self._lock = ForkLock()
        self.request_id = ""
        self.lines: tuple[str, ...] = ()
        self._about: RequestLogFilter | None = None
        self._offset: int | None = None
        self._rest = ""

    def search(self, request_id: str) -> None:
        """Show only lines about this request from the next `poll` on; all lines if it is empty."""
        with self._lock:
            self.request_id = request_id.strip()
            self._about = RequestLogFilter(self.request_id) if self.request_id else None
            self._offset, self._rest, self.lines = None, "", ()

    def poll(self) -> None:
        """Read new lines."""
        with self._lock:
            if self._offset is None:
                part = self._read(0, _SEARCHED_LINES if self._about else _KEPT_LINES)
            else:
                part = self._read(self._offset, None)
            self._offset = part.next_offset
            *lines, self._rest = (self._rest + part.text).split("\n")
            chosen = [line for line in lines if self._about is None or self._about(line)]
            self.lines = (*self.lines, *chosen)[-_KEPT_LINES:]
