"""Capture the output and logs of a driver line by line, with the id of the current request."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from mlmgmt_nb.scoring.context import request_id

__all__ = ["Output", "capture", "end_lines"]

Listener = Callable[[str, str], None]
"""Called with each whole line and the id of the request; the id is empty outside of a request."""


class Output(io.TextIOWrapper):
    """A replacement of `sys.stdout` or `sys.stderr`.

    Text written while `run` handles a request is sent in whole lines that begin with `[request id]`; other text passes
    unchanged.

    Args:
        stream: the original stream.

    Attributes:
        listener: called with each line.
    """

    def __init__(self, stream: TextIO) -> None:
        # output appears when it is printed, not when a buffer is full
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
        """Write the incomplete last line of a request."""
        if self._begun and (begun := self._begun.pop(identity, "")):
            self._take_lines(identity, [begun])

    def _take_lines(self, identity: str, lines: list[str]) -> None:
        if identity:  # one call, so that lines of other threads cannot interleave
            super().write("".join(f"[{identity}] {line}\n" for line in lines))
        if self.listener is not None:
            for line in lines:
                self.listener(line, identity)


def capture() -> None:
    """Replace `sys.stdout` and `sys.stderr` permanently."""
    if not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)
    if not isinstance(sys.stderr, Output):
        sys.stderr = Output(sys.stderr)


def end_lines(identity: str) -> None:
    """Write the incomplete last lines of a request that ended, on both streams."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Output):
            stream.end_line(identity)
