"""Functions by their hints and defaults, and samples that they refuse."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NewType, Optional, TypedDict

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging import package
from mlmgmt_nb.packaging.samples.hints import hinted_type

ROOT = Path(__file__).parents[3]
ANSWER = """
import sys
from mlmgmt_nb.scoring.application.application import find_application
from mlmgmt_nb.scoring.driver.loading import load_driver
driver = load_driver(find_application(sys.argv[1]))
for body in sys.stdin.buffer:
    print(driver.answer(body).decode())
"""


def answers(folder: Path, requests: Iterable[str]) -> list[str]:
    """Return the answers of a packaged function, from a process of its own."""
    command = [sys.executable, "-c", ANSWER, str(folder)]
    done = subprocess.run(command, input="\n".join(requests), capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()


def fitted() -> Any:
    return LinearRegression().fit(pd.DataFrame({"age": [1.0, 2.0]}), [1, 2])


def needs_a_package(text: str) -> Any:
    import surely_not_installed  # type: ignore[import-not-found]

    return surely_not_installed.answer(text)


class Customer(NamedTuple):
    age: int


class Plan(TypedDict):
    name: str


Amount = NewType("Amount", float)


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "int"),
        (Optional[float], "float"),  # noqa: UP045 - as notebooks of old have it
        (str | None, "str"),
        (int | str, "any"),
        (Any, "any"),
        (Literal["A", "B"], "str"),
        (Literal["A", 1], "any"),
        (list[int], "list"),
        (Sequence[float | None], "list"),
        (dict[str, list[int]], "dict"),
        (Mapping[str, Any], "dict"),
        (tuple[int, ...], "tuple"),
        (dt.datetime, "datetime"),
        (Plan, "dict"),
        (Amount, "float"),
        (list[dt.date], None),
        (int | dt.date, None),
        (Customer, None),
        (list[Customer], None),
        (pd.DataFrame, None),
        (decimal.Decimal, None),
    ],
    ids=str,
)
def test_a_hint_is_a_type_of_json(hint: Any, name: str | None) -> None:
    if name is not None:
        assert hinted_type("customer", hint).type_name == name  # type: ignore[attr-defined]
        return
    with pytest.raises(UsageError, match="the argument 'customer' needs a type that JSON has") as raised:
        hinted_type("customer", hint)
    assert "lambda customer: " in str(raised.value.fix)


def test_a_hint_knows_more_than_one_value(tmp_path: Path) -> None:
    """A number may have decimals, and None may come, although the sample has neither; a tuple is a plain default."""

    def price(
        amount: float, age: int | None, parts: int | str, tags: Sequence[str] = (), note: str | None = None
    ) -> str:
        return f"{amount} {age} {parts} {list(tags)} {note}"

    made = package(price, sample={"amount": 3, "age": 4, "parts": 1, "tags": ["a"]}, to=tmp_path / "made")
    assert "def run(*, amount, age=None, parts, tags=(), note=None):" in made.driver.read_text()
    requests = {
        '{"amount": 3.5, "age": null, "parts": "x"}': '"3.5 None x [] None"',
        '{"amount": 3, "parts": 1, "tags": ["b"], "note": null}': "\"3.0 None 1 ['b'] None\"",
    }
    assert answers(made.folder, requests) == list(requests.values())


@pytest.mark.parametrize(
    ("model", "sample", "words"),
    [
        (lambda customer: customer.age, {"customer": {"age": 1}}, "sample: the function refuses it: AttributeError"),
        (needs_a_package, {"text": "x"}, "the package 'surely_not_installed' is missing"),
        (fitted(), pd.DataFrame({"other": [1.0]}), "sample: the model refuses it: ValueError: The feature names"),
    ],
)
def test_a_refused_sample_has_a_fix_that_fits(model: Any, sample: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        package(model, sample=sample, to=tmp_path / "made")
    assert ("X_train" in str(raised.value.fix)) == ("the model refuses" in words)


def later(start: dt.datetime, days: int) -> str:
    return (start + dt.timedelta(days=days)).isoformat()


def test_a_timestamp_is_a_datetime(tmp_path: Path) -> None:
    package(later, sample={"start": pd.Timestamp("2026-01-31"), "days": 1}, to=tmp_path / "later")
    assert answers(tmp_path / "later", ['{"start": "2026-01-31T00:00:00", "days": 1}']) == ['"2026-02-01T00:00:00"']


def test_a_type_without_support_has_one_advice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'set' is not supported\. Use one of int") as caught:
        package(later, sample={"start": {1}, "days": 1}, to=tmp_path / "later")
    assert caught.value.fix is None
