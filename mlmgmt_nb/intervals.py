"""95 % confidence intervals, the evidence of gates, replays and canaries."""

from __future__ import annotations

import math

__all__ = ["DEVIATIONS", "of_percentile", "of_share"]

DEVIATIONS = 1.96
"""Standard deviations on each side of a 95 % interval of a normal distribution."""


def of_share(count: int, total: int) -> tuple[float, float]:
    """Return the interval of a share. It is also valid near 0 and 1.

    This is Wilson's score interval (E. B. Wilson, Journal of the American Statistical Association 22, 1927).

    Args:
        count: number of cases that have a property.
        total: number of all cases, at least 1.
    """
    share, extra = count / total, DEVIATIONS**2 / total
    middle = share + extra / 2
    half = DEVIATIONS * math.sqrt(share * (1 - share) / total + extra / (4 * total))
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


def of_percentile(share: float, total: int) -> tuple[float, float]:
    """Return the interval of a percentile, as two shares of the values in ascending order.

    Args:
        share: the percentile as a share of the values, from 0 to 1.
        total: number of values, at least 1.
    """
    half = DEVIATIONS * math.sqrt(share * (1 - share) / total)
    return max(0.0, share - half), min(1.0, share + half)
