"""The drift of collected inputs against a training sample."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from mlmgmt_nb.client.drift.report import Drift, drift_of
from mlmgmt_nb.client.drift.stability import categorical, numeric
from mlmgmt_nb.errors import UsageError

RANDOM = np.random.default_rng(7)


def collected(columns: dict[str, Any], identifier: str = "inputs") -> pd.DataFrame:
    """Return rows as `services.data` does."""
    rows = pd.DataFrame(columns)
    rows.insert(0, "model", "m")
    rows.insert(1, "identifier", identifier)
    rows.insert(2, "$RequestId", "r")
    return rows


def test_the_index_is_that_of_its_formula() -> None:
    found = categorical("c", pd.Series(["a"] * 60 + ["b"] * 40), pd.Series(["a"] * 30 + ["b"] * 70))
    shares = [(60.5 / 101, 30.5 / 101), (40.5 / 101, 70.5 / 101)]
    assert found.psi == pytest.approx(sum((a - e) * math.log(a / e) for e, a in shares))
    assert found.verdict == "large"
    assert (found.bins, found.expected, found.actual) == (["a", "b"], [60, 40], [30, 70])


def test_numbers_are_counted_in_quantiles_of_the_sample() -> None:
    known = pd.Series(RANDOM.normal(size=5000))
    same, moved = numeric("x", known, known), numeric("x", known, known + 1)
    assert set(same.expected) == {500}
    assert (same.psi, same.verdict) == (0, "stable")
    assert moved.verdict == "large"
    assert moved.means == pytest.approx((known.mean(), known.mean() + 1))
    constant = numeric("x", pd.Series([1.0] * 50), pd.Series([2.0] * 50))
    assert constant.verdict == "large", "a value that the sample does not have"
    assert numeric("x", pd.Series([1.0] * 50), pd.Series([1.0] * 50)).psi == 0


def test_few_rows_differ_by_chance_as_often_as_it_says() -> None:
    known = pd.Series(RANDOM.normal(size=400))
    found = [numeric("x", known, pd.Series(RANDOM.normal(size=60))) for _ in range(300)]
    above = [column for column in found if column.psi > column.by_chance]
    assert len(above) < 0.12 * len(found)
    assert {"too few rows"} < {column.verdict for column in found}


def test_missing_new_and_rare_values_have_bins() -> None:
    known = pd.Series([f"c{number}" for number in range(25) for _ in range(30 - number)])
    found = categorical("c", known, pd.Series(["c0", "c24", "new", None]))
    assert found.bins[-3:] == ["(rare)", "(new)", "(missing)"]
    assert found.actual[-3:] == [1, 1, 1]
    assert sum(found.expected) == len(known)
    assert numeric("x", pd.Series([1.0, 2.0]), pd.Series([1.0, math.nan])).actual[-1] == 1


def test_columns_are_compared_by_the_types_of_the_sample() -> None:
    sample = pd.DataFrame(
        {
            "city": pd.Categorical(["a", "b"] * 50),
            "flag": [True, False] * 50,
            "age": range(100),
            "day": pd.date_range("2026-01-01", periods=100),
            "not_sent": 1,
        }
    )
    data = pd.concat(
        [
            collected(
                {
                    "city": ["a", "b"] * 50,
                    "flag": [True, False] * 50,
                    "age": [str(number + 60) for number in range(100)],
                    "day": [f"2026-01-{1 + number % 28:02}" for number in range(100)],
                }
            ),
            collected({"answer": [1] * 100}, "prediction"),
        ]
    )
    found = drift_of("churn", sample, data)
    assert found.identifier == "inputs"
    assert [column.name for column in found.columns][:2] in (["age", "day"], ["day", "age"])
    assert found.drifted == [column.name for column in found.columns[:2]]
    assert found.notes == ["not collected: not_sent"]
    assert found.to_frame().set_index("column")["kind"].to_dict() == {
        "age": "numeric",
        "city": "categorical",
        "day": "numeric",
        "flag": "categorical",
    }
    assert drift_of("churn", sample.iloc[:, :2], data, "inputs").drifted == []


def test_text_and_html_have_each_column_with_its_number() -> None:
    found = drift_of("<s>", pd.DataFrame({"<b>": [1.0, 2.0] * 40}), collected({"<b>": [1.0, 5.0] * 40}))
    page = ElementTree.fromstring(found.to_html())
    assert f"PSI {found.columns[0].psi:.3f}, {found.columns[0].verdict}" in "".join(page.itertext())
    assert "Drift of inputs of <s>: 80 collected rows against 80 of the sample" in str(found)
    assert "PSI" in str(found)
    assert found.to_dict()["columns"][0]["verdict"] == found.columns[0].verdict


@pytest.mark.parametrize(
    ("sample", "data", "said"),
    [
        (pd.DataFrame({"y": [1]}), collected({"x": [1]}), "no column of it was collected (collected: inputs: x)"),
        (pd.DataFrame({"y": [1]}), collected({"x": []}), "(collected: nothing)"),
        (pd.DataFrame({"y": []}), collected({"y": [1]}), "it has no rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(sample: pd.DataFrame, data: pd.DataFrame, said: str) -> None:
    with pytest.raises(UsageError, match="sample: ") as refused:
        drift_of("s", sample, data)
    assert said in str(refused.value)


def test_arrays_are_compared_by_position() -> None:
    found: Drift = drift_of("s", np.array([[1.0, 2.0]] * 50), collected({"0": [1.0] * 50, "1": [2.0] * 50}))
    assert [column.name for column in found.columns] == ["0", "1"]
    assert not found.drifted
