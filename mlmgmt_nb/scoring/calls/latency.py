"""A histogram of request latencies: a few hundred nanoseconds per request, whatever their number."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["Latencies"]

_BOUNDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 30.0, 60.0),
)
_LABELS = (*map(str, _BOUNDS), "+Inf")


class Latencies:
    """The histogram of one replica.

    Attributes:
        seconds: sum of all latencies.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._counts = [0] * len(_LABELS)

    def add(self, seconds: float) -> None:
        """Add a request."""
        self.seconds += seconds
        self._counts[bisect_left(_BOUNDS, seconds)] += 1

    def counts(self) -> dict[str, int]:
        """Return the count of each bucket, by its upper bound in seconds as Prometheus writes it."""
        return dict(zip(_LABELS, self._counts, strict=True))
