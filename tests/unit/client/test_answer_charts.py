"""The charts of answers in the report of a scoring test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from mlmgmt_nb.charts import matrix, still
from mlmgmt_nb.client.scoring_tests.answers import answer_charts, answer_pairs
from mlmgmt_nb.client.scoring_tests.results import JudgedOutcome


def drawn(pairs: Sequence[tuple[Any, Any]], *, is_compared: bool = False) -> str:
    """Return the charts of pairs that one request had each, which must be well-formed."""
    outcomes = [(JudgedOutcome(0, 200, True, expected, answer, "", answer), 1) for expected, answer in pairs]
    shown = "".join(answer_charts(answer_pairs(outcomes), is_compared=is_compared))
    ElementTree.fromstring(f"<div>{shown}</div>")
    return shown


def rows(markup: str) -> list[list[str]]:
    found = ElementTree.fromstring(f"<div>{markup}</div>").iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in found]


def test_classes_are_a_confusion_matrix() -> None:
    shown = drawn([("cat", "cat")] * 3 + [("cat", "<dog>"), ("<dog>", "<dog>")])
    assert rows(shown)[1:] == [["<dog>", "1", "", "100%"], ["cat", "1", "3", "75%"]]
    assert "expected" in rows(shown)[0][0]
    compared = drawn([([0, 1], [0, 2])], is_compared=True)
    assert "the other service" in rows(compared)[0][0]
    assert rows(compared)[1:] == [["0", "1", "", "", "100%"], ["1", "", "0", "1", "0%"], ["2", "", "", "0", ""]]


def test_rare_classes_are_one_row() -> None:
    shown = rows(
        drawn([(f"label-{number:02}", f"label-{number:02}") for number in range(20) for _ in range(20 - number)])
    )
    assert [row[0] for row in shown[1:]] == [*(f"label-{number:02}" for number in range(11)), "others"]
    assert shown[-1][-2] == str(sum(range(1, 10)))


def test_numbers_have_residuals_with_their_sizes() -> None:
    shown = drawn([(float(number), number + 0.5) for number in range(100)])
    assert "mean 0.5, mean absolute 0.5, root mean square 0.5" in shown
    labels = re.findall(r'aria-label="([^"]*)"', shown)
    assert [label.partition(":")[0] for label in labels] == [
        "Expected and answered",
        "Residuals",
        "How large residuals are",
    ]
    assert "to the right expected 0 to 99.5" in labels[0], "both axes have one scale"
    assert labels[2].endswith("from 0.5 to 0.5, 0 of 100 around 0")
    assert "Differences" in drawn([(1.5, 1.25)], is_compared=True)
    assert "100 of 100 around 0" in drawn([(0.5, 0.5)] * 100)
    assert len(drawn([(number + 0.5, 0) for number in range(50_000)])) < 100_000


@pytest.mark.parametrize("pairs", [[], [("a", None)], [({"a": 1, "b": 2}, {"a": 1})], [([1], [1, 2])], [("a", 0.5)]])
def test_what_cannot_be_compared_is_not_drawn(pairs: list[tuple[Any, Any]]) -> None:
    assert drawn(pairs) == ""


def test_plots_become_images_in_a_saved_notebook() -> None:
    shown = still(drawn([(0.5, 0.75), (1.5, 1.25)]))
    assert shown.count("<img") == 3
    assert "<svg" not in shown
    assert "<table>" in still(matrix("t", ("a", "b"), ["x"], {("x", "x"): 1}))
