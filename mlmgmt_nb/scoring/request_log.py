"""One line of JSON a request, on stderr.

Lines are written in bunches, several times a second, since a system call for each would cost as much as the request.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import msgspec

__all__ = ["RequestLine", "RequestLog"]

_MOST_LINES = 1000


class RequestLine(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is told of a request.

    Attributes:
        time: when it was answered, UTC.
        request: its id.
        method, path: what was asked for.
        status: the HTTP status.
        ms: milliseconds from the headers of the request to its answer.
        bytes_in, bytes_out: sizes of the bodies.
        code, message: the error, if it is one.
    """

    time: datetime
    request: str
    method: str
    path: str
    status: int
    ms: float
    bytes_in: int
    bytes_out: int
    code: str = ""
    message: str = ""


class RequestLog:
    """Collects lines.

    Args:
        enabled: False drops lines of requests that went well.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._lines: list[tuple[float, str, str, str, int, float, int, int, str, str]] = []

    def add(
        self,
        now: float,
        request: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
        sizes: tuple[int, int],
        code: str = "",
        message: str = "",
    ) -> None:
        """Notes a request; errors are written at once, so that they stand beside their traceback."""
        if not self._enabled and not code:
            return
        self._lines.append((now, request, method, path, status, seconds, *sizes, code, message))
        if code or len(self._lines) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Writes what has been noted."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        encoded = [
            RequestLine(
                datetime.fromtimestamp(now, UTC), request, method, path, status, round(seconds * 1000, 3),
                size_in, size_out, code, message[:500],
            )
            for now, request, method, path, status, seconds, size_in, size_out, code, message in lines
        ]  # fmt: skip
        sys.stderr.write(msgspec.json.Encoder().encode_lines(encoded).decode())
        sys.stderr.flush()
