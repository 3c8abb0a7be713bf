"""The histogram of latencies: a few hundred nanoseconds per value, in little memory however many there are.

Replicas count with the bounds that `/metrics` shows, scoring tests of the client with bounds that are 3 % apart.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["FINE_BOUNDS", "METRICS_BOUNDS", "Histogram"]

METRICS_BOUNDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 30.0, 60.0),
)
"""Upper bounds of buckets, in seconds."""
_RATIO = 1.03
_SHORTEST = 1e-6
FINE_BOUNDS = tuple(_SHORTEST * _RATIO**step for step in range(1, 860))
"""From a microsecond to a day: a percentile is right within 3 %."""


class Histogram:
    """Counts durations in buckets.

    Args:
        bounds: the upper bound of each bucket, in seconds and in order; one more bucket has the longer durations.

    Attributes:
        count: number of durations.
        seconds: their sum.
        longest: the longest one.
    """

    def __init__(self, bounds: Sequence[float] = FINE_BOUNDS) -> None:
        self.count = 0
        self.seconds = 0.0
        self.longest = 0.0
        self._bounds = bounds
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Add a duration."""
        bucket = bisect_left(self._bounds, seconds)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.seconds += seconds
        if seconds > self.longest:
            self.longest = seconds

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram with the same bounds."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)

    def counts(self) -> dict[str, int]:
        """Return the count of each bucket, by its upper bound as Prometheus writes it."""
        labels = (*map(str, self._bounds), "+Inf")
        return {label: self._buckets.get(bucket, 0) for bucket, label in enumerate(labels)}

    def percentile(self, percent: float) -> float:
        """Return the upper bound of the bucket that contains a percentile; 0 without durations."""
        wanted, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self.longest, self._edge(bucket + 1))
        return 0.0

    def bars(self, most: int, other: Histogram) -> list[tuple[float, float, int, int]]:
        """Return at most `most` ranges: begin, end, count, and count of another histogram with the same bounds.

        All ranges have the same number of buckets.
        """
        known = self._buckets.keys() | other._buckets.keys()
        if not known:
            return []
        first, last = min(known), max(known)
        width = max(1, math.ceil((last - first + 1) / most))
        counts, others = ([0] * math.ceil((last - first + 1) / width) for _ in range(2))
        for found, buckets in ((counts, self._buckets), (others, other._buckets)):
            for bucket, count in buckets.items():
                found[(bucket - first) // width] += count
        edges = [self._edge(first + place * width) for place in range(len(counts) + 1)]
        return list(zip(edges, edges[1:], counts, others, strict=False))

    def _edge(self, bucket: int) -> float:
        """Return the lower bound of a bucket."""
        if bucket == 0:
            return min(_SHORTEST, self._bounds[0])
        return self._bounds[bucket - 1] if bucket <= len(self._bounds) else max(self.longest, self._bounds[-1])
