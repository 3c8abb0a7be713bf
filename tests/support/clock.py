"""The time of day of processes, set by a test; requires libfaketime."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from tests.support.components import missing

__all__ = ["Clock"]


class Clock:
    """The time of day of processes: the real time plus an offset in hours."""

    def __init__(self, file: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
        if not libraries:
            missing("libfaketime", "apt-get install libfaketime")
        self._file = file
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            # As on a real machine, the monotonic clock cannot be set, and the times of files do not change.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, hours: int) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{hours:+d}h")
        partial.replace(self._file)
        self._hours = hours

    def shows(self, stamp: str) -> bool:
        """Return whether a new timestamp was taken from this clock."""
        there = dt.datetime.now(dt.UTC) + dt.timedelta(hours=self._hours)
        return abs(dt.datetime.fromisoformat(stamp) - there) < dt.timedelta(minutes=30)
