"""The output of a build on the engine: its events, its log lines, and the reason of a failure."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlmgmt_nb.service.files.logs import Log

__all__ = ["BuildOutput", "TransferProgress", "events"]

_LAST_LINES = 8
_SECONDS = 1.0
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


class TransferProgress:
    """Logs how much of an image was pulled or pushed, about once a second.

    Args:
        verb: `pulled` or `pushed`.
        log: receives the lines.
        clock: monotonic time in seconds.
    """

    def __init__(self, verb: str, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._verb, self._log, self._clock = verb, log, clock
        self._layers: dict[str, tuple[int, int]] = {}
        self._logged = clock()

    def take(self, event: Mapping[str, Any]) -> None:
        """Process an event of the engine."""
        detail = event.get("progressDetail") or {}
        layer, total = str(event.get("id", "")), detail.get("total")
        if total and event.get("status") in {"Downloading", "Pushing"}:
            self._layers[layer] = (min(detail.get("current", 0), total), total)
        elif layer in self._layers and event.get("status") in {"Download complete", "Pull complete", "Pushed"}:
            self._layers[layer] = (self._layers[layer][1],) * 2
        else:
            return
        if self._clock() - self._logged >= _SECONDS:
            self._logged = self._clock()
            done = sum(current == total for current, total in self._layers.values())
            sizes = [sum(column) / 2**20 for column in zip(*self._layers.values(), strict=True)]
            amount = f"{sizes[0]:.0f} of {sizes[1]:.0f} MiB, {done} of {len(self._layers)} layers"
            self._log.line(f"[mlmgmt] image: {self._verb} {amount}")


def events(response: Any) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that the engine streams."""
    decoder, pending = json.JSONDecoder(), ""
    for chunk in response.iter_content(chunk_size=None):
        pending += chunk.decode(errors="replace")
        while pending := pending.lstrip():
            try:
                found, end = decoder.raw_decode(pending)
            except ValueError:  # not complete yet
                break
            pending = pending[end:]
            yield found
