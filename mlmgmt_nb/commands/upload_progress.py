"""The progress of an upload, for display."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Meter"]

_BIG = 64 * 2**20
_PATIENCE = 0.5
_INTERVAL = 0.1


class Meter:
    """Show the progress of uploads of at least 64 MiB or of more than half a second, at most ten times a second.

    Args:
        name: name of the file.
        show: called with a line of text and the uploaded fraction, from 0 to 1. The last call has 1.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self, name: str, show: Callable[[str, float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._show = show
        self._clock = clock
        self._started = clock()
        self._due = self._started + _PATIENCE
        self._is_shown = False

    def __call__(self, sent: int, total: int) -> None:
        """Update the meter with the number of bytes sent and the total."""
        now = self._clock()
        is_first_of_big = total >= _BIG and not self._is_shown
        is_last = self._is_shown and sent == total
        if now < self._due and not is_first_of_big and not is_last:
            return
        self._due = now + _INTERVAL
        self._is_shown = True
        part = sent / total if total else 1.0
        self._show(f"upload {self._name}: {part:.0%} of {_size(total)}{self._speed(sent, total, now)}", part)

    def _speed(self, sent: int, total: int, now: float) -> str:
        """Return the rate and the remaining time as text; "" until there are enough data for an estimate.

        At the end, it is the rate of the whole upload, however short it was.
        """
        seconds = now - self._started
        if (seconds < _PATIENCE and sent < total) or not (sent and seconds):
            return ""
        rate = sent / seconds
        left = (total - sent) / rate
        return f", {_size(rate)}/s" + (f", {_time(left)} left" if left >= 1 else "")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
