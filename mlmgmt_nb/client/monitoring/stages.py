"""The stage of an operation, from its log: the step of a build, its packages and layers, or the ready replicas."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.client.monitoring.failures import last_rollout
from mlmgmt_nb.errors import MlmgmtError, OperationTimeout

if TYPE_CHECKING:
    from mlmgmt_nb.client.polling import Poller

__all__ = ["Stage", "watch"]

_FIRST_LINES = 500
_STEP = re.compile(r"\[(\d+)/(\d+)\] (.*)")
_READY = re.compile(r"\[mlmgmt\] (replicas|pods) ready (\d+)/(\d+)(?:: (.*))?")
_DETAIL = re.compile(r"\[mlmgmt\] (?:packages|image): (.*)")


class Stage:
    """The stage of an operation.

    Attributes:
        step: the last step of a build: its number, the number of steps, and its title. None without steps.
        detail: what the step does with packages or layers, such as `downloading scipy (33.7MiB)`; or what pods wait
            for, such as `1 pulling the image`; or "".
        ready: the ready and the requested number of replicas; None if they are not known.
    """

    def __init__(self) -> None:
        self.step: tuple[int, int, str] | None = None
        self.detail = ""
        self.ready: tuple[int, int] | None = None
        self._replicas = "replicas"

    def read(self, lines: Iterable[str]) -> None:
        """Process further lines of the log."""
        for line in lines:
            if found := _STEP.match(line):
                self.step, self.detail = (int(found[1]), int(found[2]), found[3]), ""
            elif found := _READY.match(line):
                self._replicas, self.detail = found[1], found[4] or ""
                self.ready = (int(found[2]), int(found[3]))
            elif found := _DETAIL.match(line):
                self.detail = found[1]

    def __str__(self) -> str:
        """`step 3 of 4: requirements, downloading scipy (33.7MiB)`, `pods ready 1/2: 1 pulling the image`, or ""."""
        if self.step:
            number, steps, title = self.step
            return f"step {number} of {steps}: {title}" + (f", {self.detail}" if self.detail else "")
        if self.ready:
            ready, wanted = self.ready
            return f"{self._replicas} ready {ready}/{wanted}" + (f": {self.detail}" if self.detail else "")
        return ""

    @property
    def part(self) -> float | None:
        """The completed fraction, from 0 to 1; None if it is not known."""
        if self.step:
            return (self.step[0] - 0.5) / self.step[1]
        return self.ready[0] / self.ready[1] if self.ready and self.ready[1] else None


def watch(
    poller: Poller[Any], timeout: float | None = None, tick: float = 0.5, *, reads_log: bool = True
) -> Iterator[str]:
    """Yield the state and the stage of an operation again and again, until it has ended.

    Args:
        poller: the operation.
        timeout: maximum seconds to wait (default: unlimited).
        tick: seconds between two values.
        reads_log: whether to read the log, which has the stage.

    Raises:
        OperationTimeout: it did not end within `timeout` seconds.
    """
    started, stage = time.monotonic(), Stage()
    offset: int | None = None
    while True:
        left = None if timeout is None else timeout - (time.monotonic() - started)
        try:
            poller.wait(tick if left is None else max(0.0, min(left, tick)))
            return
        except OperationTimeout:
            if left is not None and left <= tick:
                raise
        if reads_log:
            offset = _read(poller, stage, offset)
        kind = ((poller.operation.operation_type if poller.operation else None) or "operation").lower()
        parts = [f"{kind} {poller.status()}", str(stage), f"{time.monotonic() - started:.0f} s"]
        yield ", ".join(filter(None, parts))


@passive()
def _read(poller: Poller[Any], stage: Stage, offset: int | None) -> int | None:
    """Read further lines of the log, and return the offset after them. Without a log, only the state is known."""
    try:
        part = poller.log(tail=_FIRST_LINES) if offset is None else poller.log(offset=offset)
    except MlmgmtError:
        return offset
    lines = part.text.splitlines()
    stage.read(last_rollout(lines) if offset is None else lines)
    return part.next_offset
