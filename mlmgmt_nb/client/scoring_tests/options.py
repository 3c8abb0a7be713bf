"""The options of a scoring test: how it sends its requests, and when it ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from mlmgmt_nb.client.bodies import is_number
from mlmgmt_nb.errors import UsageError

__all__ = ["LoadOptions", "StopCondition", "check_options", "default_processes"]

_CALLERS_PER_PROCESS = 16


class LoadOptions(TypedDict, total=False):
    """Options for sending the requests of a scoring test.

    Attributes:
        requests: number of requests, which cycle through the cases (default: each case once, unless there is a
            `duration`).
        concurrency: maximum number of requests at the same time (default: 1).
        duration: seconds after which no more requests are sent.
        rate: target requests per second (default: unthrottled).
        tolerance: relative or absolute difference up to which two numbers are equal (default: 0).
        timeout: seconds after which a request counts as unanswered (default: 60).
        processes: number of processes that send requests (default: one for every 16 concurrent requests, but at most
            half of the processors).
    """

    requests: int | None
    concurrency: int
    duration: float | None
    rate: float | None
    tolerance: float
    timeout: float
    processes: int | None


class StopCondition(NamedTuple):
    """The end of a test: after a number of requests, after a number of seconds, or whichever comes first."""

    requests: int | None
    duration: float | None

    def part(self, count: int, seconds: float) -> float:
        """Return the completed fraction, from 0 to 1."""
        parts = [count / self.requests if self.requests else 0.0, seconds / self.duration if self.duration else 0.0]
        return min(1.0, max(parts))


def check_options(options: Mapping[str, Any]) -> None:
    """Check the limits of the options.

    Raises:
        UsageError: an option is out of range.
    """
    for name in ("requests", "concurrency", "duration", "rate", "timeout", "processes"):
        value = options.get(name)
        if value is not None and not (is_number(value) and value > 0):
            raise UsageError(f"{name} is {value!r}", field=name, fix="Give a number above 0.")
    for name in ("requests", "concurrency", "processes"):
        if isinstance(value := options.get(name), float) and not value.is_integer():
            raise UsageError(f"{name} is {value!r}", field=name, fix="Give a whole number.")
    tolerance = options.get("tolerance", 0.0)
    if not (is_number(tolerance) and tolerance >= 0):
        raise UsageError(f"tolerance is {tolerance!r}", field="tolerance", fix="Give 0 or a small number such as 1e-6.")


def default_processes(callers: int) -> int:
    """Return the number of processes for this number of concurrent requests."""
    return max(1, min(callers // _CALLERS_PER_PROCESS, (os.cpu_count() or 1) // 2))
