"""What callers of the inference server of Azure ML v2 rely on: headers, GET, OPTIONS and CORS, own descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.scoring.conftest import digest

DRIVER = """
import json
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

@input_schema("x", StandardPythonParameterType(1))
@input_schema("text", StandardPythonParameterType("a"), optional=True)
@input_schema("rows", StandardPythonParameterType([1]), optional=True)
def run(x, text="", rows=()):
    if x < 0:
        raise ValueError("negative")
    return [x, text, rows]
"""
PAGE = "https://app.example.org"


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("x=4", [4, "", []]),
        ("x=4&text=5", [4, "5", []]),
        ("x=4&text=%C3%BC+b", [4, "ü b", []]),
        ("x=4&rows=[1,2]", [4, "", [1, 2]]),
        ("x=4&rows=1&rows=2", [4, "", [1, 2]]),
    ],
)
def test_get_with_a_query(query: str, answer: Any, replica: Any) -> None:
    assert replica.session.get(f"{replica.url}/score?{query}").json() == answer


def test_get_that_is_wrong(replica: Any) -> None:
    for query, message in (("x=no", "x: expected an integer"), ("y=1", "y: unknown argument")):
        answer = replica.session.get(f"{replica.url}/score?{query}")
        assert (answer.status_code, message in answer.json()["message"]) == (400, True)
    assert replica.session.get(f"{replica.url}/score").status_code == 405


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"x-request-id": "a"}, {"x-request-id": "a", "x-ms-request-id": "a", "x-ms-client-request-id": None}),
        ({"x-ms-client-request-id": "b"}, {"x-ms-request-id": "b", "x-ms-client-request-id": "b"}),
        (
            {"x-request-id": "a", "x-ms-client-request-id": "b", "x-ms-request-id": "c"},
            {"x-request-id": "a", "x-ms-client-request-id": "b", "x-ms-request-id": "c"},
        ),
        ({"x-request-id": "not good", "x-ms-client-request-id": "y" * 200}, {"x-ms-client-request-id": None}),
    ],
)
@pytest.mark.parametrize("x", [1, -1, None])
def test_ids(sent: dict[str, str], answered: dict[str, str], x: int | None, replica: Any) -> None:
    answer = replica.score(json.dumps({"x": x}), headers=sent)
    assert answer.status_code == {1: 200, -1: 500, None: 400}[x]
    assert {name: answer.headers.get(name) for name in answered} == answered
    assert len(answer.headers["x-request-id"]) in (1, 36)


@pytest.mark.parametrize(("x", "failed"), [(1, "False"), (-1, "True"), ("x", "False")])
def test_how_run_fared(x: Any, failed: str, replica: Any) -> None:
    for headers in ({}, {"Origin": PAGE}):  # answered without a task, and with one
        answer = replica.score(json.dumps({"x": x}), headers=headers)
        assert answer.headers["x-ms-run-function-failed"] == failed
        if answer.ok:
            assert 0 <= float(answer.headers["x-ms-run-fn-exec-ms"]) < 1000


def test_pages_of_other_origins(replica: Any) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = requests.options(f"{replica.url}/score", headers={"Origin": PAGE, **asks}, timeout=20)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert allowed.headers["access-control-allow-headers"] == "authorization"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    foreign = requests.options(f"{replica.url}/score", headers={"Origin": "https://evil.example", **asks}, timeout=20)
    assert "access-control-allow-origin" not in foreign.headers
    assert replica.score('{"x": 1}', headers={"Origin": PAGE}).headers["access-control-allow-origin"] == PAGE
    foreign = replica.score('{"x": 1}', headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers
    assert requests.options(f"{replica.url}/score", timeout=20).headers["allow"] == "POST, GET, OPTIONS"


def test_pages_of_other_origins_and_a_driver_with_cors_headers_of_its_own(
    drivers: Path, spawn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AML_CORS_ORIGINS", PAGE)
    replica = spawn(drivers / "core_raw_http_cors", keys=[digest("first")]).ready()
    answer = replica.score("1", headers={"Origin": PAGE, "Authorization": "Bearer first"})
    assert answer.headers["access-control-allow-origin"] == "*", "one value: browsers refuse two"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = requests.options(f"{replica.url}/score", headers={"Origin": PAGE, **asks}, timeout=20)
    assert (preflight.status_code, preflight.headers["access-control-allow-headers"]) == (200, "authorization")
    assert preflight.headers["access-control-allow-origin"] == PAGE
    for headers in ({}, asks, {"Origin": PAGE}):
        assert requests.options(f"{replica.url}/score", headers=headers, timeout=20).status_code == 401
    allowed = {"Authorization": "Bearer first", "Origin": PAGE, **asks}
    assert requests.options(f"{replica.url}/score", headers=allowed, timeout=20).json() == {"ok": True}


def test_own_descriptions(replica: Any) -> None:
    assert replica.session.get(f"{replica.url}/swagger.json").json() == {"swagger": "2.0", "mine": 2}
    assert replica.session.get(f"{replica.url}/swagger.json?version=3").json() == {"openapi": "3.0.0", "mine": 3}
    assert replica.session.get(replica.url).ok


@pytest.fixture(scope="module")
def replica(tmp_path_factory: Any) -> Any:
    """One replica for all of these tests."""
    import os

    from tests.integration.scoring.conftest import Replica

    app = tmp_path_factory.mktemp("app")
    (app / "score.py").write_text(DRIVER)
    (app / "swagger2.json").write_text('{"swagger": "2.0", "mine": 2}')
    (app / "swagger3.json").write_text('{"openapi": "3.0.0", "mine": 3}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "AML_CORS_ORIGINS", f"https://other.example.org, {PAGE}")
        replica = Replica(app, app / "log")
    yield replica.ready()
    replica.close()
