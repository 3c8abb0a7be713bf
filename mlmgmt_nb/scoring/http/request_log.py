"""Write one line of JSON per request to stderr.

Keys: `time` (UTC), `request` (the id), `method`, `path`, `status`, `ms` (from the headers to the answer), `bytesIn` and
`bytesOut` (of the bodies), and for errors `code` and `message`. Lines are written in batches several times a second,
because a system call for each line would cost as much as the request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from time import gmtime, perf_counter, strftime, time

import msgspec

__all__ = ["LogEntry", "RequestLog"]

LogEntry = tuple[str, str, str, int, float, float, int, int, str, str]
"""Request id, method, path, status, `perf_counter()` at start and end, bytes in and out, error code and message."""

_MOST_LINES = 1000


class RequestLog:
    """A buffer of log entries.

    Args:
        enabled: if False, only failed requests are logged.
        listener: called with every entry.
    """

    def __init__(self, *, enabled: bool = True, listener: Callable[[LogEntry], None] | None = None) -> None:
        self.enabled = enabled
        self.listener = listener
        self._entries: list[LogEntry] = []

    def add(self, entry: LogEntry) -> None:
        """Add a request; errors are written at once, so that they appear next to their traceback."""
        failed = entry[-1]
        if self.listener is not None:
            self.listener(entry)
        if not self.enabled and not failed:
            return
        self._entries.append(entry)
        if failed or len(self._entries) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the buffered entries."""
        if not self._entries:
            return
        entries, self._entries = self._entries, []
        clock = time() - perf_counter()
        second, stamp, lines = -1, "", []
        for request, method, path, status, began, ended, size_in, size_out, code, message in entries:
            now = clock + ended
            if int(now) != second:
                second = int(now)
                stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
            # a request id needs no escaping: the application lets no other characters in
            line = (
                f'{{"time":"{stamp}.{int(now % 1 * 1000):03}Z","request":"{request}","method":"{method}",'
                f'"path":{_quoted(path)},"status":{status},"ms":{(ended - began) * 1000:.3f},'
                f'"bytesIn":{size_in},"bytesOut":{size_out}'
            )
            if code:
                line += f',"code":"{code}","message":{_quoted(message[:500])}'
            lines.append(line)
        sys.stderr.write("}\n".join(lines) + "}\n")
        sys.stderr.flush()


@lru_cache(maxsize=64)
def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
