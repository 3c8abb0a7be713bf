"""Histograms and timelines of latencies against the exact values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.client.scoring_tests.timeline import Timeline, percentile
from mlmgmt_nb.scoring.histogram import Histogram

SECONDS = st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=200)


def counted(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(SECONDS, st.sampled_from([1, 50, 90, 99, 100]))
def test_percentiles_are_nearly_exact(values: list[float], percent: int) -> None:
    exact = percentile(sorted(values), percent)
    assert exact * 0.999 <= counted(values).percentile(percent) <= exact * 1.031


@given(SECONDS, SECONDS)
def test_merged_is_counted_together(some: list[float], others: list[float]) -> None:
    merged, together = counted(some), counted(some + others)
    merged.merge(counted(others))
    assert (merged.count, merged.longest) == (together.count, together.longest)
    assert merged.percentile(90) == together.percentile(90)


@given(SECONDS)
def test_bars_hold_all_of_them_in_order(values: list[float]) -> None:
    bars = counted(values).bars(20, Histogram())
    assert 0 < len(bars) <= 20
    assert sum(count for _, _, count, _ in bars) == len(values)
    assert all(start < end for start, end, *_ in bars)
    assert bars[0][0] <= min(values) * 1.001
    assert bars[-1][1] >= max(values) * 0.999


@given(SECONDS, SECONDS)
def test_bars_of_two_have_one_scale(some: list[float], others: list[float]) -> None:
    bars = counted(some).bars(20, counted(others))
    assert [sum(column) for column in list(zip(*bars, strict=True))[2:]] == [len(some), len(others)]


def test_of_nothing() -> None:
    assert Histogram().percentile(50) == 0.0
    assert Histogram().bars(10, Histogram()) == []
    assert Timeline().slices() == []


def test_a_timeline_keeps_its_size_however_long_it_goes_on() -> None:
    timeline = Timeline()
    for second in range(1000):
        timeline.add(second, 0.001 * (second + 1), wrong=second % 10 == 0)
    slices = timeline.slices()
    assert timeline.width == 16.0
    assert len(slices) == 63
    assert [one.at for one in slices[:3]] == [0.0, 16.0, 32.0]
    assert [one.answers for one in slices[:-1]] == [16] * 62
    assert sum(one.wrong for one in slices) == 100
    assert slices[0].latencies.longest == pytest.approx(0.016)
    assert slices[-1].latencies.longest == pytest.approx(1.0)
