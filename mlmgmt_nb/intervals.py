"""Confidence intervals of 95 %: the evidence of gates, replays and canaries."""

from __future__ import annotations

import math

__all__ = ["DEVIATIONS", "of_percentile", "of_share"]

DEVIATIONS = 1.96
"""Standard deviations of a normal number on each side of an interval of 95 %."""


def of_share(count: int, total: int) -> tuple[float, float]:
    """Return the interval of a share, which is right near 0 and 1 too.

    The rule is Wilson's score interval (E. B. Wilson, Journal of the American Statistical Association 22, 1927).

    Args:
        count: number of the cases that have a property.
        total: number of all cases, at least 1.
    """
    share, extra = count / total, DEVIATIONS**2 / total
    middle = share + extra / 2
    half = DEVIATIONS * math.sqrt(share * (1 - share) / total + extra / (4 * total))
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


def of_percentile(share: float, total: int) -> tuple[float, float]:
    """Return the shares between whose values a percentile lies, by the order of the values.

    Args:
        share: of the values that do not exceed the percentile, from 0 to 1.
        total: number of the values, at least 1.
    """
    half = DEVIATIONS * math.sqrt(share * (1 - share) / total)
    return max(0.0, share - half), min(1.0, share + half)
