"""What is known of a scoring test: counts, failures, and the pictures that are made of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from xml.etree import ElementTree

from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.results import JudgedOutcome, ResultStore
from mlmgmt_nb.load_generator.messages import Batch, Outcome


def judge(outcome: Outcome) -> JudgedOutcome:
    """Case 0 is right, case 1 is wrong, and the others have no answer."""
    error = "500: <i>no</i>" if outcome.case > 1 else ""
    return JudgedOutcome(
        outcome.case, outcome.status, outcome.case == 0 if not error else None, 1, outcome.content, error
    )


def batch(cases: Sequence[int], new: Sequence[int], at: float = 0.0, cpu: float = 0.5, ended: bool = False) -> Batch:
    """Request of some cases, whose outcomes have the cases' numbers as their places."""
    times = array("d", [at] * len(cases)).tobytes()
    seconds = array("d", [0.01 * (case + 1) for case in cases]).tobytes()
    places = array("q", cases).tobytes()
    outcomes = [Outcome(case, 500 if case > 1 else 200, b"<b>") for case in new]
    ids = "\n".join(f"id-{case}" for case in cases)
    return Batch(times, seconds, places, ids, b"", outcomes, cpu, at + 1.0, 0.002, ended)


def filled() -> ResultStore:
    store = ResultStore(judge)
    store.add(0, batch([0, 1, 0], [0, 1]))
    store.add(1, batch([0, 1, 2, 2], [0, 1, 2], at=1.0))
    store.add(0, batch([1], [], at=2.0, cpu=0.75, ended=True))
    return store


def test_counts_of_all_processes() -> None:
    assert filled().numbers == (8, 6, 3, 3, 2, 3.0, 1.25, 0.002)


def test_columns_and_results_are_the_same() -> None:
    store = filled()
    rows = list(zip(*store.columns().values(), strict=True))
    assert rows == [tuple(result) for result in store.results()]
    assert rows[5] == (2, 1.0, 0.03, 500, None, 1, b"<b>", "500: <i>no</i>", "id-2")


def test_failures_one_by_one_and_by_kind() -> None:
    store = filled()
    assert [result.case for result in store.failures()] == [1, 1, 2, 2, 1]
    assert [result.case for result in store.failures(2)] == [1, 1]
    assert [(result.case, times) for result, times in store.failed_cases(10)] == [(1, 3), (2, 2)]


def test_many_failures_are_counted_and_not_all_kept() -> None:
    store = ResultStore(judge)
    for _ in range(5):
        store.add(0, batch([1] * 1000, [1, 1] if not store.numbers.requests else []))
    assert store.numbers.failed == 5000
    assert len(store.failures()) == 1000
    assert [times for _, times in store.failed_cases(10)] == [5000]


def test_the_picture_escapes_what_comes_from_services() -> None:
    shown = ScoringReport(filled(), name="<iris>").to_html()
    assert "<iris>" not in shown
    assert "<i>no</i>" not in shown
    assert "500: &lt;i&gt;no&lt;/i&gt;" in shown
    assert "Failed" in shown
    ElementTree.fromstring(shown)  # it is well-formed


def test_the_picture_of_a_test_that_sent_nothing() -> None:
    shown = ScoringReport(ResultStore(judge), name="iris", partial=True).to_html()
    assert "Nothing sent" in shown
    assert "stopped before its end" in shown
    ElementTree.fromstring(shown)


def test_a_client_that_was_busy_all_the_time_says_so() -> None:
    store = ResultStore(judge)
    store.add(0, batch([0], [0], cpu=0.95))
    assert "may show its limit" in ScoringReport(store).to_html()
    assert "may show its limit" in str(ScoringReport(store))
    assert "may show its limit" not in str(ScoringReport(store, processes=2))
