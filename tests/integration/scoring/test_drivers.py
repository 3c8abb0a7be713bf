"""Every sample driver of `tests/drivers` gives exactly the answers that stand beside it, on our Python and on 3.13.

Without CI, a tenth of them run on 3.13.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import requests

from mlmgmt_nb.scoring.distribution import pinned_packages
from tests.support.environments import interpreter, make_environment
from tests.support.searches import long_search
from tests.support.waiting import eventually

DRIVERS = Path(__file__).parents[2] / "drivers"
CASES = sorted(path.parent.name for path in DRIVERS.glob("*/expected.json"))


@pytest.mark.parametrize("case", CASES)
def test_driver(case: str, spawn: Callable[..., Any]) -> None:
    check_driver(case, spawn)


@pytest.fixture(scope="module")
def python_3_13(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python 3.13 with the packages of the runtime and those of the drivers."""
    needs = [*pinned_packages(), "six"]
    same = [f"{name}=={version(name)}" for name in ("numpy", "pandas", "scikit-learn")]
    return str(make_environment(tmp_path_factory, "3.13", interpreter("3.13"), [*needs, *same]))


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=long_search if place % 30 else []) for place, case in enumerate(CASES)]
)
def test_driver_on_python_3_13(case: str, spawn: Callable[..., Any], python_3_13: str) -> None:
    check_driver(case, partial(spawn, python=python_3_13))


def check_driver(case: str, spawn: Callable[..., Any]) -> None:
    """Start the driver, and compare each answer with the expected one."""
    expected = json.loads((DRIVERS / case / "expected.json").read_text())
    replica = spawn(DRIVERS / case, **expected.get("start", {}))
    if "failed" in expected:
        report = replica.report("ready", "failed")
        assert report == {"type": "failed", **expected["failed"]}
        assert replica.process.wait(30) == 3
        assert expected["failed"]["message"] in replica.log
        return
    replica.ready()
    for request in expected["requests"]:
        check_answer(replica, request)
    if "log" in expected:
        eventually(lambda: set(expected["log"]) <= set(replica.log.splitlines()))
    if "drains" in expected:
        replica.send({"type": "drain", "seconds": 30})
        assert replica.process.wait(30) == expected["drains"]


def check_answer(replica: Any, request: dict[str, Any]) -> None:
    body = request["text"] if "text" in request else json.dumps(request.get("body"))
    if "exits" in request:
        with pytest.raises(requests.ConnectionError):
            replica.score(body.encode())
        assert replica.process.wait(30) == request["exits"]
        return
    response = send(replica, request, body)
    if "content" in request:
        assert (response.status_code, response.headers["content-type"]) == (200, request["contentType"])
        assert response.text == request["content"]
        assert {name: response.headers[name] for name in request.get("has", {})} == request.get("has", {})
        return
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    if "status" not in request:
        assert (response.status_code, answer) == (200, request["answer"]), body
        return
    assert (response.status_code, answer["statusCode"]) == (request["status"], request["status"]), answer
    assert answer["message"] == request["message"]
    assert answer["code"] == request.get("code", "BadInput")
    assert answer["requestId"] == response.headers["x-ms-request-id"]
    if "details" in request:
        assert [detail["message"] for detail in answer["details"]] == request["details"]


def send(replica: Any, request: dict[str, Any], body: str) -> requests.Response:
    if "query" not in request:
        answer: requests.Response = replica.score(body.encode(), headers=request.get("headers"))
        return answer
    path = request.get("path", "/score")
    return requests.get(f"{replica.url}{path}?{request['query']}", headers=request.get("headers"), timeout=20)


@pytest.mark.parametrize(
    ("case", "sample"), [("wrapped_2017", {"numbers": [1, 2], "scale": 1.0}), ("wrapped_found", {"a": 1})]
)
def test_wrapped_drivers_describe_their_arguments(case: str, sample: Any, spawn: Callable[..., Any]) -> None:
    replica = spawn(DRIVERS / case).ready()
    example = replica.session.get(f"{replica.url}/swagger.json").json()["definitions"]["ServiceInput"]["example"]
    assert replica.score(json.dumps(example)).status_code == 200
    assert example == sample


def test_a_schema_runs_no_code() -> None:
    assert not (DRIVERS / "schema_evil" / "pwned").exists()
