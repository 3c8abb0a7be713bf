"""Metrics of a service over the last minutes: rates and latency percentiles, as a table and as charts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from mlmgmt_nb.charts import Series, chart, short
from mlmgmt_nb.client import ServiceMetrics

__all__ = ["Point", "Traffic"]

_KEPT_SECONDS, _WINDOW_SECONDS, _LEAST_SECONDS = 180.0, 4.0, 0.5
_FEWEST_POINTS = 60
_PERCENTS = (50, 95, 99)


class Point(NamedTuple):
    """Rates per second, and latency percentiles in seconds, at a point in time."""

    at: float
    requests: float
    failures: float
    rejected: float
    percentiles: tuple[float | None, ...]


class Traffic:
    """The recent metrics of a service.

    Attributes:
        latest: the last metrics, or None if there are none yet.
        points: rates and percentiles of the last minutes, oldest first, a few seconds apart.

    Args:
        clock: monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: list[tuple[float, ServiceMetrics]] = []
        self.latest: ServiceMetrics | None = None
        self.points: tuple[Point, ...] = ()

    def add(self, metrics: ServiceMetrics) -> None:
        """Add the current metrics."""
        now = self._clock()
        self.latest = metrics
        if self._recent and now - self._recent[-1][0] < _LEAST_SECONDS:
            return  # too short for a meaningful rate
        self._recent.append((now, metrics))
        while len(self._recent) > 2 and now - self._recent[1][0] >= _WINDOW_SECONDS:
            del self._recent[0]
        began, before = self._recent[0]
        if now == began:
            return
        counted, seconds = metrics.since(before), now - began
        point = Point(
            now,
            counted.requests / seconds,
            counted.failures / seconds,
            counted.rejected / seconds,
            tuple(counted.percentile(percent) for percent in _PERCENTS),
        )
        self.points = (*(kept for kept in self.points if now - kept.at <= _KEPT_SECONDS), point)

    def rows(self) -> list[tuple[str, str]]:
        """Return the current metrics, as rows of a label and a value."""
        if self.latest is None:
            return []
        rows = [("total", self.totals())]
        if self.points:
            last = self.points[-1]
            rows.insert(0, ("requests / s", short(last.requests)))
            latency = [f"p{percent} {short(value * 1000)} ms" for percent, value in _named(last) if value is not None]
            rows += [("latency", ", ".join(latency))] if latency else []
        return rows

    def totals(self) -> str:
        """Return the counts since the service process started, as text."""
        counted = self.latest
        if counted is None:
            return ""
        requests = f"{counted.requests} request{'' if counted.requests == 1 else 's'}"
        return f"{requests}, {counted.failures} failed; {counted.rejected} more rejected"

    def html(self) -> str:
        """Return the charts."""
        points = self.points
        if not points:
            return ""
        span = f"last {_minutes(points[-1].at - points[0].at)}"
        # New charts grow from the right.
        gap: list[float | None] = [None] * max(0, _FEWEST_POINTS - len(points))
        rates = Series("", [*gap, *(point.requests for point in points)])
        latency = [
            Series(f"p{percent}", [*gap, *(_milliseconds(point.percentiles[place]) for point in points)])
            for place, percent in enumerate(_PERCENTS)
        ]
        errors = [
            Series("failed", [*gap, *(point.failures for point in points)]),
            Series("rejected", [*gap, *(point.rejected for point in points)]),
        ]
        charts = [
            chart("Requests / s", "", [rates], span),
            chart("Latency", "ms", latency, span),
            chart("Errors / s", "", errors, span),
        ]
        columns = "repeat(auto-fit,minmax(200px,1fr))"
        style = f"display:grid;grid-template-columns:{columns};gap:16px 24px;margin:6px 0;max-width:980px"
        return f'<div style="{style}">{"".join(charts)}</div>'


def _named(point: Point) -> list[tuple[int, float | None]]:
    return list(zip(_PERCENTS, point.percentiles, strict=True))


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
