"""What a driver prints and logs, line by line with the id of the request that it was working for."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from mlmgmt_nb.scoring.context import request_id

__all__ = ["Output", "capture", "end_lines"]

Listener = Callable[[str, str], None]
"""Gets each whole line and the request's id, which is empty outside of one."""


class Output(io.TextIOWrapper):
    """A stream in the place of `sys.stdout` or `sys.stderr`.

    What is written while `run` works for a request goes out in whole lines that begin with `[request id]`; the rest
    passes as it is.

    Args:
        stream: what is replaced.

    Attributes:
        listener: is told each line.
    """

    def __init__(self, stream: TextIO) -> None:
        # what a driver prints is seen when it is printed, not when a buffer is full
        super().__init__(stream.buffer, stream.encoding, errors="backslashreplace", line_buffering=True)
        self._begun: dict[str, str] = {}
        self.listener: Listener | None = None

    def write(self, text: str) -> int:
        identity = request_id.get()
        if not identity:
            super().write(text)
            if self.listener is None:
                return len(text)
        *lines, rest = (self._begun.pop(identity, "") + text).split("\n")
        if rest:
            self._begun[identity] = rest
        if lines:
            self._take_lines(identity, lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        self.write("".join(lines))

    def end_line(self, identity: str) -> None:
        """Write what a request has left of a line."""
        if self._begun and (begun := self._begun.pop(identity, "")):
            self._take_lines(identity, [begun])

    def _take_lines(self, identity: str, lines: list[str]) -> None:
        if identity:  # one call, so that lines of other threads do not come between
            super().write("".join(f"[{identity}] {line}\n" for line in lines))
        if self.listener is not None:
            for line in lines:
                self.listener(line, identity)


def capture() -> None:
    """Replace `sys.stdout` and `sys.stderr`, for good."""
    if not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)
    if not isinstance(sys.stderr, Output):
        sys.stderr = Output(sys.stderr)


def end_lines(identity: str) -> None:
    """A request has ended: what it left of a line on either stream goes out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Output):
            stream.end_line(identity)
