"""The page on drivers of 2017 to 2024 says what the sample drivers show, and names each of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DRIVERS = ROOT / "tests" / "drivers"
ERAS = re.compile(r"(sdk201\d|core|v2|automl|wrapped)_")
PAGE = (ROOT / ".docs" / "guides" / "old-drivers.md").read_text()


def named(heading: str) -> list[str]:
    """Return the sample drivers in the last column of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n#")[0]
    cells = [line.rstrip("| \n").rpartition(" | ")[2] for line in section.splitlines()[3:] if line.startswith("|")]
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell) if "_" in name or name.islower()]


RUN, REFUSED = named("Run unchanged"), named("Do not run")


def expected(name: str) -> Any:
    return json.loads((DRIVERS / name / "expected.json").read_text())


def test_each_driver_of_an_era_is_named() -> None:
    of_eras = {path.parent.name for path in DRIVERS.glob("*/expected.json") if ERAS.match(path.parent.name)}
    assert of_eras - {*RUN, *REFUSED} == set()
    assert len(of_eras) >= 40


@pytest.mark.parametrize("name", RUN)
def test_those_that_run_answer(name: str) -> None:
    seen = expected(name)
    assert "failed" not in seen
    # One whose purpose is to refuse a request answers 400, with what it raised.
    assert any("answer" in request or request["status"] == 400 for request in seen["requests"])


@pytest.mark.parametrize("name", REFUSED)
def test_those_that_do_not_run_say_why(name: str) -> None:
    seen = expected(name)
    assert "failed" in seen or all(request["status"] == 500 for request in seen["requests"])
