"""Latencies as they are counted while a test runs: how many took how long, in all and over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Histogram", "Slice", "Timeline", "percentile"]

_STEP = math.log(1.03)
"""Each bucket is so much wider than the one before: a percentile is right within 3 %."""
_SHORTEST = 1e-6
_FIRST_SLICE_SECONDS = 0.25
_MOST_SLICES = 80


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least so many percent are not above; 0 for no values."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


class Histogram:
    """Counts durations, in little memory however many there are."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = int(math.log(seconds / _SHORTEST) / _STEP) if seconds > _SHORTEST else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        if seconds > self.longest:
            self.longest = seconds

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.longest = max(self.longest, other.longest)

    def percentile(self, percent: float) -> float:
        """Return the seconds that so many percent do not exceed, nearly; 0 for none."""
        wanted, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self.longest, _SHORTEST * math.exp((bucket + 1) * _STEP))
        return 0.0

    def bars(self, most: int) -> list[tuple[float, float, int]]:
        """From, to and count of at most so many equally wide (on a logarithmic scale) ranges of seconds."""
        if not self._buckets:
            return []
        first, last = min(self._buckets), max(self._buckets)
        width = max(1, math.ceil((last - first + 1) / most))
        counts = [0] * math.ceil((last - first + 1) / width)
        for bucket, count in self._buckets.items():
            counts[(bucket - first) // width] += count
        edges = [_SHORTEST * math.exp((first + place * width) * _STEP) for place in range(len(counts) + 1)]
        return list(zip(edges, edges[1:], counts, strict=False))


class Slice(NamedTuple):
    """What was answered in a slice of time: from when, how many, how many of them not right, and their latencies."""

    at: float
    answers: int
    wrong: int
    latencies: Histogram


class Timeline:
    """Answers over time, in at most 80 slices: they become longer as the test goes on.

    Attributes:
        width: seconds of a slice.
    """

    def __init__(self) -> None:
        self.width = _FIRST_SLICE_SECONDS
        self._counts: list[int] = []
        self._wrong: list[int] = []
        self._latencies: list[Histogram] = []

    def add(self, at: float, seconds: float, *, wrong: bool) -> None:
        """Count an answer that came at the given second."""
        while (place := int(at / self.width)) >= _MOST_SLICES:
            self._widen()
        while place >= len(self._counts):
            self._counts.append(0)
            self._wrong.append(0)
            self._latencies.append(Histogram())
        self._counts[place] += 1
        self._wrong[place] += wrong
        self._latencies[place].add(seconds)

    def _widen(self) -> None:
        self.width *= 2
        for later in range(1, len(self._counts), 2):
            self._latencies[later - 1].merge(self._latencies[later])
        self._counts = [sum(self._counts[place : place + 2]) for place in range(0, len(self._counts), 2)]
        self._wrong = [sum(self._wrong[place : place + 2]) for place in range(0, len(self._wrong), 2)]
        self._latencies = self._latencies[::2]

    def slices(self) -> list[Slice]:
        """All slices, in their order."""
        columns = zip(self._counts, self._wrong, self._latencies, strict=True)
        return [Slice(place * self.width, *column) for place, column in enumerate(columns)]
