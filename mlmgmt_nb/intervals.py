"""Confidence intervals, the evidence of gates, replays and canaries."""

from __future__ import annotations

import math

__all__ = ["DEVIATIONS", "REPEATED_DEVIATIONS", "of_difference", "of_percentile", "of_share", "tail"]

DEVIATIONS = 1.96
"""Standard deviations on each side of a 95 % interval of a normal distribution."""
REPEATED_DEVIATIONS = 3.29
"""The same of a 99.9 % interval: a decision that is made again and again, as soon as the values suffice, needs more
evidence than one that is made once.
"""


def of_share(count: int, total: int, deviations: float = DEVIATIONS) -> tuple[float, float]:
    """Return the interval of a share. It is also valid near 0 and 1.

    This is Wilson's score interval (E. B. Wilson, Journal of the American Statistical Association 22, 1927).

    Args:
        count: number of cases that have a property.
        total: number of all cases, at least 1.
        deviations: standard deviations on each side.
    """
    share, extra = count / total, deviations**2 / total
    middle = share + extra / 2
    half = deviations * math.sqrt(share * (1 - share) / total + extra / (4 * total))
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


def of_difference(
    count: int, total: int, other: int, other_total: int, deviations: float = DEVIATIONS
) -> tuple[float, float]:
    """Return the interval of the difference of two shares, the first minus the second.

    This is the hybrid score interval (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10).

    Args:
        count, total: cases of the first share that have a property, and all cases, at least 1.
        other, other_total: those of the second share.
        deviations: standard deviations on each side.
    """
    first, second = count / total, other / other_total
    (low, high), (other_low, other_high) = of_share(count, total, deviations), of_share(other, other_total, deviations)
    difference = first - second
    return (
        difference - math.hypot(first - low, other_high - second),
        difference + math.hypot(high - first, second - other_low),
    )


def tail(count: int, total: int, share: float) -> float:
    """Return the probability of at least so many cases, by the binomial distribution.

    Args:
        count: number of cases that have a property.
        total: number of all cases.
        share: probability that a case has it.
    """
    if count <= 0 or share >= 1:
        return 1.0
    if share <= 0:
        return 0.0
    logs = math.lgamma(total + 1), math.log(share), math.log1p(-share)
    below = math.fsum(
        math.exp(logs[0] - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * logs[1] + (total - k) * logs[2])
        for k in range(count)
    )
    return max(0.0, 1.0 - below)


def of_percentile(share: float, total: int, deviations: float = DEVIATIONS) -> tuple[float, float]:
    """Return the interval of a percentile, as two shares of the values in ascending order.

    Args:
        share: the percentile as a share of the values, from 0 to 1.
        total: number of values, at least 1.
        deviations: standard deviations on each side.
    """
    half = deviations * math.sqrt(share * (1 - share) / total)
    return max(0.0, share - half), min(1.0, share + half)
