"""What a service's metrics were: rates over a few seconds, percentiles, and their charts."""

from __future__ import annotations

import html
import math
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from mlmgmt_nb.charts import Series, chart, short, still
from mlmgmt_nb.client import ServiceMetrics
from mlmgmt_nb.notebook.panels.service.traffic import Traffic


class Clock:
    """Seconds that pass when told so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def counted(requests: int, failures: int = 0, fast: int = 0, slow: int = 0) -> ServiceMetrics:
    latency = ((0.01, fast), (1.0, slow), (math.inf, 0))
    return ServiceMetrics(requests=requests, failures=failures, rejected=1, latency=latency)


def test_rates_are_of_the_last_few_seconds() -> None:
    clock = Clock()
    traffic = Traffic(clock)
    traffic.add(counted(1000, 7, fast=1000))  # what was before tells nothing of now
    assert not traffic.points
    assert traffic.html() == ""
    for second in range(1, 11):
        clock.now += 1
        # Replicas tell once a second, so that a look may find nothing new, and the next one twice as much.
        traffic.add(counted(1000 + 20 * (second // 2), 7 + second // 2, fast=1000 + 20 * (second // 2)))
    last = traffic.points[-1]
    assert last.requests == pytest.approx(10.0)
    assert last.failures == pytest.approx(0.5)
    assert last.rejected == 0
    assert last.percentiles[0] == pytest.approx(0.005)
    assert dict(traffic.rows())["requests / s"] == "10"
    assert traffic.totals() == "1100 requests, 12 failed; 1 more rejected"


def test_looks_in_quick_succession_make_no_rate() -> None:
    clock = Clock()
    traffic = Traffic(clock)
    traffic.add(counted(0))
    clock.now += 0.02
    traffic.add(counted(50))
    assert not traffic.points
    assert traffic.latest == counted(50)
    clock.now += 1.98
    traffic.add(counted(60))
    assert [point.requests for point in traffic.points] == [30.0]


def test_three_minutes_are_kept() -> None:
    clock = Clock()
    traffic = Traffic(clock)
    for _ in range(400):
        clock.now += 1
        traffic.add(counted(0))
    assert len(traffic.points) == 181
    assert traffic.points[-1].percentiles == (None, None, None)
    assert "latency" not in dict(traffic.rows())
    assert "last 3 min" in traffic.html()


def test_a_chart_tells_in_words_what_it_draws() -> None:
    shown = chart("Latency", "ms", [Series("p50", [1, None, 2]), Series("p99", [3, 4.5, 1500])], "last 3 s")
    label = re.findall('aria-label="([^"]*)"', shown)
    assert label == ["Latency: p50 2 ms, p99 1.5k ms; highest 1.5k ms in the last 3 s"]
    dashes = re.findall('stroke-dasharray="([^"]*)"', shown)
    assert len(dashes) == 1, "the second series is told apart from the first without its color"
    paths = re.findall(' d="([^"]*)"', shown)
    assert paths[0].count("M") == 2, "a line is broken where there is no number"
    assert paths[1].count("M") == 1


def test_what_was_not_measured_has_no_number_and_no_unit() -> None:
    idle = chart("Latency", "ms", [Series("p50", [2.0, None]), Series("p99", [None, 3.0])], "last 3 s")
    assert 'aria-label="Latency: p50 none, p99 3 ms; highest 3 ms in the last 3 s"' in idle
    assert "p50 <b>-</b></span>" in idle
    assert "p99 <b>3</b> ms</span>" in idle
    never = chart("Latency", "ms", [Series("p50", [None, None])], "last 3 s")
    assert 'aria-label="Latency: none in the last 3 s"' in never
    assert " ms" not in never
    assert "highest" not in never


def test_a_chart_of_nothing_and_of_markup() -> None:
    assert "NaN" not in chart("Errors", "", [Series("", [])], "last 1 s")
    assert "<b>x" not in chart("<b>x", "<b>x", [Series("<b>x", [0.0])], "<b>x")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (0.254, "0.25"), (3.14, "3.1"), (12.34, "12.3"), (128.4, "128"), (12500, "12.5k")]
)
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text


def test_a_chart_that_stands_still_is_an_image() -> None:
    """Front ends leave SVG out in what they do not trust."""
    moving = chart("Latency <&>", "ms", [Series("p50", [1.0, 2.0]), Series("p95", [3.0, None])], "last 2 s")
    image = still(moving)
    assert "<svg" not in image
    found = re.search(r'<img alt="([^"]*)" style="[^"]*" src="data:image/svg\+xml,([^"]*)">', image)
    assert found is not None
    assert html.unescape(found[1]) == "Latency <&>: p50 2 ms, p95 none; highest 3 ms in the last 2 s"
    drawn = ElementTree.fromstring(unquote(found[2]))
    shapes = [part.get("d") for part in drawn]
    assert shapes == re.findall(r' d="([^"]*)"', moving)
    assert len(shapes) == 2
    assert still(image) == image
