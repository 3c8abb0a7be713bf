"""Scoring tests against a real service: right and wrong answers, load, stopping, and the report."""

from __future__ import annotations

import threading
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.timeline import percentile
from mlmgmt_nb.comparison import same
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.errors import ScoringTestFailed, UsageError
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema

DRIVER = """\
import time

def init():
    pass

def run(table):
    if table["a"].iloc[0] == 99:
        raise ValueError("ninety-nine")
    return (table["a"] * {factor} + table["b"]).tolist()
"""


def run(table: pd.DataFrame) -> None: ...


def deploy(ws: Workspace, folder: Path, name: str, factor: int) -> ServiceResponse:
    (folder / "score.py").write_text(DRIVER.format(factor=factor))
    sample = SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"a": [1], "b": [0.5]}))
    generate_schema(run, {"table": sample}, filepath=folder / "schema.json")
    return ws.deploy(name, driver=folder / "score.py", schema=folder / "schema.json", max_concurrent_requests=50)


@pytest.fixture(scope="module")
def service(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> ServiceResponse:
    return deploy(ws, tmp_path_factory.mktemp("one"), "tested", 1)


CASES = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 0.25, 0.0], "sum": [1.5, 2.25, 3.0]})


def test_right_answers(ws: Workspace, service: ServiceResponse) -> None:
    report = ws.services.test(service, CASES, expect="sum")
    summary = report.summary
    assert (summary["requests"], summary["passed"], summary["failed"], summary["errored"]) == (3, 3, 0, 0)
    assert 0 < summary["p50_ms"] <= summary["p99_ms"] <= summary["max_ms"]
    assert summary["answered"] == 3
    assert not summary["partial"]
    report.assert_ok(p95_ms=10_000)
    assert report.results["answer"].tolist() == [[1.5], [2.25], [3.0]]
    assert report.results["request_id"].is_unique


def test_wrong_and_missing_answers(ws: Workspace, service: ServiceResponse) -> None:
    cases = pd.DataFrame({"a": [1, 99, 3], "b": [0.5, 0.0, 0.0], "sum": [1.5, 0.0, 4.0]})
    report = ws.services.test(service, cases, expect="sum")
    assert (report.summary["passed"], report.summary["failed"], report.summary["errored"]) == (1, 1, 1)
    with pytest.raises(ScoringTestFailed, match=r"(?s)2 of 3 .*ninety-nine.*expected 4\.0, got \[3\.0\]") as caught:
        report.assert_ok()
    assert caught.value.report is report
    suite = ElementTree.fromstring(report.to_junit())
    assert suite.attrib["tests"] == "3"
    assert [child.tag for case in suite for child in case] == ["error", "failure"]
    assert "ninety-nine" in report.to_html()
    with pytest.raises(ScoringTestFailed, match="95th percentile"):
        ws.services.test(service, CASES[["a", "b"]]).assert_ok(p95_ms=0)


def test_by_a_function(ws: Workspace, service: ServiceResponse) -> None:
    def positive(given: pd.DataFrame, answer: list[float]) -> bool:
        if answer[0] >= 3:
            raise AssertionError("three is too much")
        return bool(answer[0] > given["b"].iloc[0])

    report = ws.services.test(service, CASES.drop(columns="sum"), expect=positive)
    assert [result.passed for result in sorted(report.failures)] == [False]
    assert report.failures[0].error == "three is too much"
    refused = ws.services.test(service, CASES[["a", "b"]], expect=lambda given, answer: answer[0] != 1.5)
    assert "case 0: the check returned False, got [1.5]" in str(refused)


def test_against_another_service(ws: Workspace, service: ServiceResponse, tmp_path: Path) -> None:
    other = deploy(ws, tmp_path, "other", 2)
    report = ws.services.test(service, CASES[["a", "b"]], against=other)
    assert report.summary["failed"] == 3
    assert ws.services.test(service, CASES[["a", "b"]], against=service).summary["passed"] == 3
    # Close enough: the two differ by half.
    report = ws.services.test(service, CASES[["a", "b"]], against=other, tolerance=0.5, rate=100.0, concurrency=2)
    assert report.summary["passed"] == 3
    assert 0 < report.summary["against_p50_ms"] <= report.summary["against_p99_ms"]
    assert "The other service: p50 " in report.to_html()
    gated = ws.services.test(service, CASES[["a", "b"]], against=other, requests=60)
    verdict = gated.gate("agree >= 0.9 and old.p95 > 0")
    assert (verdict.outcome, verdict.requests, verdict.numbers["agree"].value) == ("failed", 60, 0.0)
    assert gated.gate("p95 <= 100 * old.p95 and errors == 0").outcome == "passed"
    with pytest.raises(ScoringTestFailed, match=r"gate failed: .* \[agree = 0 \(0 to 0\.0\d+\); 60 requests"):
        gated.assert_gate("agree >= 0.9")
    suite = ElementTree.fromstring(gated.to_junit(verdict))
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("1", "1")
    assert report.gate("agree >= 0.9").reason == "at least 20 requests are needed"
    ws.services.delete(other)


def test_under_load(ws: Workspace, service: ServiceResponse) -> None:
    seen: list[ScoringReport] = []
    report = ws.services.test(service, CASES, expect="sum", requests=600, concurrency=4, on_progress=seen.append)
    report.assert_ok()
    assert report.summary["requests"] == 600
    assert seen[-1].summary["requests"] == 600
    assert report.summary["client_share"] > 0
    timed = ws.services.test(service, CASES[["a", "b"]], duration=0.5, rate=100, concurrency=2)
    assert timed.summary["requests"] == 50
    timed.assert_ok()
    assert timed.results["at"].max() == pytest.approx(0.49)


def test_a_test_that_is_interrupted_keeps_what_there_is(ws: Workspace, service: ServiceResponse) -> None:
    def interrupt(report: ScoringReport) -> None:
        if report.summary["requests"] >= 3:
            raise KeyboardInterrupt

    report = ws.services.test(service, CASES, expect="sum", duration=60, rate=50, on_progress=interrupt)
    assert report.summary["partial"]
    assert 3 <= report.summary["requests"] < 300
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scoring-test")]


@pytest.mark.parametrize(
    ("cases", "options", "said"),
    [
        (CASES, {"expect": "total"}, "total"),
        (CASES.iloc[:0], {}, "list of cases is empty"),
        (CASES, {"requests": 0}, "requests is 0"),
        (CASES, {"tolerance": -1.0}, "tolerance"),
        ([{"table": []}], {"expect": "x"}, "case 0"),
        (CASES, {"expect": lambda given, answer: True, "against": "tested"}, "cannot be combined"),
    ],
)
def test_what_cannot_be(
    ws: Workspace, service: ServiceResponse, cases: object, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        ws.services.test(service, cases, **options)  # type: ignore[arg-type]


def test_percentiles_and_likeness() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], p) for p in (0, 25, 50, 99, 100)] == [1.0, 1.0, 2.0, 4.0, 4.0]
    assert percentile([], 50) == 0.0
    assert same([1, {"a": 2.0}], [1.0, {"a": 2.0000001}], 1e-6)
    assert not same(True, 1.5, 1.0)
    assert not same([1], [1, 2], 0.0)
    assert not same({"a": 1}, {"b": 1}, 0.0)
