"""Answers over time, and exact percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mlmgmt_nb.scoring.histogram import Histogram

__all__ = ["Slice", "Timeline", "percentile"]

_FIRST_SLICE_SECONDS = 0.25
_MOST_SLICES = 80


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least a percentage of the values do not exceed; 0 without values."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


class Slice(NamedTuple):
    """The answers in a slice of time: its start, their number, the number that are not right, and their latencies."""

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
        """Return all slices, in order."""
        columns = zip(self._counts, self._wrong, self._latencies, strict=True)
        return [Slice(place * self.width, *column) for place, column in enumerate(columns)]
