"""Metrics of a service: read from Prometheus' text format, between two moments, and percentiles."""

from __future__ import annotations

import math

import pytest

from mlmgmt_nb.client.monitoring.metrics import ServiceMetrics, parse_metrics

TEXT = """\
# TYPE mlmgmt_requests_total counter
mlmgmt_requests_total{account="a",service="iris"} 12.0
# TYPE mlmgmt_request_failures_total counter
mlmgmt_request_failures_total{account="a",service="iris"} 2.0
# TYPE mlmgmt_replicas gauge
mlmgmt_replicas{account="a",service="iris",state="starting"} 1.0
mlmgmt_replicas{account="a",service="iris",state="ready"} 2.0
# TYPE mlmgmt_replicas_wanted gauge
mlmgmt_replicas_wanted{account="a",service="iris"} 3.0
# TYPE mlmgmt_request_seconds histogram
mlmgmt_request_seconds_bucket{account="a",le="0.001",service="iris"} 4.0
mlmgmt_request_seconds_bucket{account="a",le="0.01",service="iris"} 10.0
mlmgmt_request_seconds_bucket{account="a",le="+Inf",service="iris"} 12.0
mlmgmt_request_seconds_count{account="a",service="iris"} 12.0
mlmgmt_request_seconds_sum{account="a",service="iris"} 0.5
# TYPE mlmgmt_of_tomorrow gauge
mlmgmt_of_tomorrow 1.0
"""


def test_the_text_format() -> None:
    metrics = parse_metrics(TEXT)
    assert (metrics.requests, metrics.failures, metrics.rejected) == (12, 2, 0)
    assert (metrics.ready, metrics.wanted, metrics.replicas["starting"]) == (2, 3, 1)
    assert metrics.latency == ((0.001, 4), (0.01, 6), (math.inf, 2))
    assert parse_metrics("") == ServiceMetrics()


def test_between_two_moments() -> None:
    later = ServiceMetrics(requests=10, failures=3, wanted=2, latency=((0.1, 6), (math.inf, 1)))
    between = later.since(ServiceMetrics(requests=4, failures=1, wanted=1, latency=((0.1, 5), (math.inf, 1))))
    assert (between.requests, between.failures, between.wanted) == (6, 2, 2)
    assert between.latency == ((0.1, 1), (math.inf, 0))


def test_counters_that_began_again_count_in_full() -> None:
    between = ServiceMetrics(requests=3, failures=1, latency=((0.1, 3),)).since(
        ServiceMetrics(requests=50, failures=20, latency=((0.1, 50),))
    )
    assert (between.requests, between.failures, between.latency) == (3, 1, ((0.1, 3),))


@pytest.mark.parametrize(
    ("percent", "seconds"),
    [(50, 0.1 * 50 / 80), (80, 0.1), (90, 0.1 + 0.1 * 10 / 15), (95, 0.2), (99, 0.2)],
)
def test_percentiles_lie_within_their_bucket(percent: float, seconds: float) -> None:
    metrics = ServiceMetrics(latency=((0.1, 80), (0.2, 15), (math.inf, 5)))
    assert metrics.percentile(percent) == pytest.approx(seconds)


def test_no_percentile_without_requests() -> None:
    assert ServiceMetrics().percentile(99) is None
    assert ServiceMetrics(latency=((0.1, 0), (math.inf, 0))).percentile(50) is None
