"""The population stability index of one column, numeric or categorical.

For the shares e of a training sample and a of collected rows in k bins, it is the sum of (a - e) * ln(a / e); less than
0.1 is stable, and more than 0.25 is a large change (N. Siddiqi, Credit Risk Scorecards, Wiley 2006). A share is (count
+ 0.5) / (rows + 0.5 * k), so that an empty bin has a logarithm.

Without any drift, few rows differ by chance: (1/n + 1/m) times a chi-squared number of k - 1 degrees of freedom, for n
and m rows (B. Yurdakul and J. Naranjo, Statistical Properties of the Population Stability Index, Journal of Risk Model
Validation 14(4), 2020). An index below the one that chance exceeds in 5 of 100 cases does not count as drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LARGE", "MODERATE", "ColumnDrift", "categorical", "numeric"]

MODERATE, LARGE = 0.1, 0.25
"""The lowest indexes of a moderate and of a large change."""
_BINS = 10
_CATEGORIES = 20
_MISSING, _NEW, _RARE = "(missing)", "(new)", "(rare)"
_Z = 1.645
"""Number of standard deviations that a normally distributed number exceeds in 5 of 100 cases."""


class ColumnDrift(NamedTuple):
    """The drift of a column.

    Attributes:
        name: of the column.
        kind: `numeric` or `categorical`.
        bins: names of the bins: categories, or the upper ends of ranges.
        expected, actual: rows of the sample and collected rows in each bin.
        psi: the population stability index.
        by_chance: the index that the same number of rows without drift exceeds in 5 of 100 cases.
        means: the means of the sample and of the collected values of a numeric column.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    bins: Sequence[str]
    expected: Sequence[int]
    actual: Sequence[int]
    psi: float
    by_chance: float
    means: tuple[float, float] | None = None

    @property
    def verdict(self) -> Literal["stable", "moderate", "large", "too few rows"]:
        """The drift in words."""
        if self.psi < MODERATE:
            return "stable"
        if self.psi <= self.by_chance:
            return "too few rows"
        return "moderate" if self.psi <= LARGE else "large"


def numeric(name: str, sample: pd.Series, collected: pd.Series) -> ColumnDrift:
    """Return the drift of numbers, in the ten quantiles of the sample.

    Args:
        name: of the column.
        sample, collected: the numbers; NaN where they are missing.
    """
    import numpy as np

    known, now = (each.dropna().to_numpy(dtype=float) for each in (sample, collected))
    edges = np.unique(np.quantile(known, [place / _BINS for place in range(1, _BINS)])) if len(known) else np.array([])
    counts = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (known, now)]
    ends = [*(f"{edge:.4g}" for edge in edges), "above"]
    missing = [len(sample) - len(known), len(collected) - len(now)]
    means = (float(known.mean()), float(now.mean())) if len(known) and len(now) else None
    return _of_counts(name, "numeric", ends, counts[0].tolist(), counts[1].tolist(), missing, means)


def categorical(name: str, sample: pd.Series, collected: pd.Series) -> ColumnDrift:
    """Return the drift of categories: the 20 most frequent of the sample, the rare ones together, and new ones.

    Args:
        name: of the column.
        sample, collected: the values, compared as text; NaN where they are missing.
    """
    known, now = (each.dropna().astype(str).value_counts() for each in (sample, collected))
    shown = list(known.index[:_CATEGORIES])
    rare = known.index[_CATEGORIES:]
    expected, actual = ([int(counts.get(value, 0)) for value in shown] for counts in (known, now))
    for bin_, counts in ((_RARE, rare), (_NEW, now.index.difference(known.index))):
        if len(counts):
            shown.append(bin_)
            expected.append(int(known.reindex(counts, fill_value=0).sum()))
            actual.append(int(now.reindex(counts, fill_value=0).sum()))
    missing = [int(each.isna().sum()) for each in (sample, collected)]
    return _of_counts(name, "categorical", shown, expected, actual, missing, None)


def _of_counts(
    name: str,
    kind: Literal["numeric", "categorical"],
    bins: list[str],
    expected: list[int],
    actual: list[int],
    missing: Sequence[int],
    means: tuple[float, float] | None,
) -> ColumnDrift:
    if any(missing):
        bins, expected, actual = [*bins, _MISSING], [*expected, missing[0]], [*actual, missing[1]]
    index = _index(expected, actual)
    return ColumnDrift(
        name, kind, bins, expected, actual, index, _by_chance(len(bins), sum(expected), sum(actual)), means
    )


def _index(expected: Sequence[int], actual: Sequence[int]) -> float:
    shares = [[(count + 0.5) / (sum(counts) + 0.5 * len(counts)) for count in counts] for counts in (expected, actual)]
    return math.fsum((a - e) * math.log(a / e) for e, a in zip(*shares, strict=True))


def _by_chance(bins: int, sample: int, collected: int) -> float:
    freedom = bins - 1
    return (1 / sample + 1 / collected) * (freedom + _Z * math.sqrt(2 * freedom))
