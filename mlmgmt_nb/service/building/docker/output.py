"""The output of a build on the engine: its events, its log lines, and the reason of a failure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from mlmgmt_nb.service.files.logs import Log

__all__ = ["BuildOutput", "events"]

_LAST_LINES = 8
_LONGEST_REASON = 300


class BuildOutput:
    """Forwards output to a log, line by line, and remembers the step and the last lines."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._step = ""
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._log.line(text)
            if text.startswith(("--> ", "Step ")):
                self._step = text.removeprefix("--> ")
                self._lines.clear()
            elif text and not text.startswith(("step failed: ", " ---> ")):
                self._lines.append(text)

    def failure_reason(self) -> str:
        """Return the failed step and the line with the reason: the line marked as an error, or else the last one."""
        marked = [line for line in self._lines if line.startswith("ERROR: ")]
        lines = [*self._lines, *marked][-1:]
        reason = "".join(lines).removeprefix("ERROR: ")[:_LONGEST_REASON]
        return ": ".join(filter(None, [self._step and f"step {self._step!r} failed", reason]))


def events(response: Any) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that the engine streams."""
    decoder, pending = json.JSONDecoder(), ""
    for chunk in response.iter_content(chunk_size=None):
        pending += chunk.decode(errors="replace")
        while pending := pending.lstrip():
            try:
                found, end = decoder.raw_decode(pending)
            except ValueError:  # incomplete so far
                break
            pending = pending[end:]
            yield found
