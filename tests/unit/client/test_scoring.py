"""Calls of a scoring URL: what data becomes, and what answers become."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.scoring import encode_input, swagger_arguments
from tests.unit.client.conftest import Answer, Seen, Server

FRAME = pd.DataFrame({"a": [1, 2], "b": [0.1, None], "c": ["x", None]})
RECORDS = [{"a": 1, "b": 0.1, "c": "x"}, {"a": 2, "b": None, "c": None}]


@pytest.mark.parametrize(
    ("data", "arguments", "expected"),
    [
        (FRAME, ["input_df"], {"input_df": RECORDS}),
        (FRAME, None, RECORDS),
        ({"x": FRAME, "y": 3}, ["x", "y"], {"x": RECORDS, "y": 3}),
        (np.array([[1.5, 2]]), ["data"], {"data": [[1.5, 2.0]]}),
        ({"n": np.int64(3), "s": pd.Series([1, 2])}, None, {"n": 3, "s": [1, 2]}),
        ([1, 2], ["data"], [1, 2]),
        (pd.DataFrame({"t": [pd.Timestamp("2024-01-02T03:04:05")]}), None, [{"t": "2024-01-02T03:04:05"}]),
        ({"d": dt.date(2024, 1, 2)}, None, {"d": "2024-01-02"}),
        (float("nan"), None, None),
        (b'{"raw": 1}', ["data"], {"raw": 1}),
        ('{"raw": 1}', None, {"raw": 1}),
    ],
)
def test_data(data: Any, arguments: list[str] | None, expected: Any) -> None:
    assert json.loads(encode_input(data, arguments)) == expected


def test_numbers_keep_their_digits() -> None:
    value = 0.1234567890123456789
    assert json.loads(encode_input(pd.DataFrame({"a": [value]}), None)) == [{"a": value}]


def test_data_that_cannot_be_sent() -> None:
    with pytest.raises(errors.UsageError, match=r"data\.x is object, which has no JSON form"):
        encode_input({"x": object()}, None)
    with pytest.raises(errors.UsageError, match=r"(?s)takes the arguments x, y.*\{'x': data\}"):
        encode_input(FRAME, ["x", "y"])


def test_arguments_in_descriptions() -> None:
    given: dict[str, Any] = {"example": {"x": [1]}, "properties": {"x": {}, "y": {}}}
    assert swagger_arguments({"definitions": {"ServiceInput": given}}) == ["x", "y"]
    assert swagger_arguments({"definitions": {"ServiceInput": {**given, "required": ["x"]}}}) == ["x"]
    assert swagger_arguments({"definitions": {"ServiceInput": {"example": {}}}}) is None
    assert swagger_arguments({}) is None


class Scoring:
    """A service `iris` with a key that can change, and its management API."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.key = "key-1"
        self.answer = Answer(200, {"result": 1})
        server.script = self.script

    def script(self, seen: Seen) -> Answer:
        if seen.path == "/services":
            uri = f"{self.server.origin}/api/v1/service/iris/score"
            service = {"id": "s1", "name": "iris", "computeResource": {}, "scoringUri": uri}
            return Answer(200, {"value": [service]})
        if seen.path == "/services/s1/keys":
            return Answer(200, {"primaryKey": self.key})
        if seen.headers["Authorization"] != f"Bearer {self.key}":
            return Answer(401, {"code": "Unauthorized", "message": "The key is wrong."})
        if seen.path.endswith("/swagger.json"):
            sample = {"example": {"input_df": [{"a": 1}]}, "properties": {"input_df": {}}}
            return Answer(200, {"definitions": {"ServiceInput": sample}})
        return self.answer


@pytest.fixture
def scoring(server: Server) -> Scoring:
    return Scoring(server)


def test_run(server: Server, workspace: Workspace, scoring: Scoring) -> None:
    assert workspace.services.run("iris", {"x": 1}) == {"result": 1}
    assert server.seen[-1].json == {"x": 1}
    before = len(server.seen)
    assert workspace.services.run("iris", FRAME) == {"result": 1}
    assert server.seen[-1].json == {"input_df": RECORDS}
    assert [seen.path for seen in server.seen[before:]] == [
        "/api/v1/service/iris/swagger.json",
        "/api/v1/service/iris/score",
    ]


@pytest.mark.parametrize("timeout", [0, -5, float("nan"), "60"])
def test_a_timeout_is_a_number_above_0(workspace: Workspace, scoring: Scoring, timeout: Any) -> None:
    for send in (workspace.services.run, workspace.services.ask):
        with pytest.raises(errors.UsageError, match=f"timeout is {timeout!r}"):
            send("iris", {}, timeout=timeout)


@pytest.mark.parametrize("expect", [[{"result": 1}], 3, FRAME])
def test_expected_answers_are_a_column_or_a_function(workspace: Workspace, scoring: Scoring, expect: Any) -> None:
    with pytest.raises(errors.UsageError, match="neither the name of a column nor a function"):
        workspace.services.test("iris", [{}], expect=expect)


def test_new_key_is_fetched_once(workspace: Workspace, scoring: Scoring) -> None:
    workspace.services.run("iris", {})
    scoring.key = "key-2"
    assert workspace.services.run("iris", {}) == {"result": 1}


@pytest.mark.parametrize("text", ["plain text", "[" * 100_000])
def test_text_answers(workspace: Workspace, scoring: Scoring, text: str) -> None:
    scoring.answer = Answer(200, text.encode())
    assert workspace.services.run("iris", "x") == text


def test_an_error_that_is_nested_too_deeply(workspace: Workspace, scoring: Scoring) -> None:
    scoring.answer = Answer(500, b'{"message":' + b"[" * 100_000)
    with pytest.raises(errors.ScoringError):
        workspace.services.run("iris", {})


def test_driver_error(workspace: Workspace, scoring: Scoring) -> None:
    body = {"code": "DriverError", "message": "ValueError: no", "statusCode": 500, "requestId": "r-1", "details": []}
    scoring.answer = Answer(500, body)
    with pytest.raises(errors.DriverError, match="ValueError: no") as caught:
        workspace.services.run("iris", {})
    assert (caught.value.status_code, caught.value.request_id) == (500, "r-1")
    assert "under request r-1" in str(caught.value)


def test_bad_input(workspace: Workspace, scoring: Scoring) -> None:
    details = [{"code": "Column", "message": "input_df: column 'b' is missing"}]
    scoring.answer = Answer(400, {"code": "BadInput", "message": "The input is wrong.", "details": details})
    with pytest.raises(errors.ScoringError, match="column 'b' is missing") as caught:
        workspace.services.run("iris", {})
    assert type(caught.value) is errors.ScoringError


@pytest.mark.parametrize(
    ("code", "fix"), [("TooManyRequests", "more replicas"), ("NoReplicas", "has the log"), ("ReplicaEnds", "Try again")]
)
def test_the_fix_for_a_service_that_is_not_available(
    workspace: Workspace, scoring: Scoring, code: str, fix: str
) -> None:
    scoring.answer = Answer(503, {"code": code, "message": "Not now."}, {"Retry-After": "0"})
    with pytest.raises(errors.ScoringError, match="Not now") as caught:
        workspace.services.run("iris", {})
    assert fix in (caught.value.fix or "")


def test_a_service_at_zero_replicas_is_asked_once(server: Server, workspace: Workspace, scoring: Scoring) -> None:
    refusal = {"code": "NoReplicas", "message": "This service is scaled to zero replicas."}
    scoring.answer = Answer(503, refusal, {"Retry-After": "5"})
    with pytest.raises(errors.ScoringError, match="scaled to zero replicas") as caught:
        workspace.services.run("iris", {})
    assert "num_replicas=1" in (caught.value.fix or "")
    assert [seen.method for seen in server.seen].count("POST") == 1


def test_busy_service_is_asked_again(server: Server, workspace: Workspace, scoring: Scoring) -> None:
    busy = [Answer(503, {"code": "Busy", "message": "Busy."}, {"Retry-After": "0"})]

    def script(seen: Seen) -> Answer:
        return busy.pop() if busy and seen.method == "POST" else scoring.script(seen)

    server.script = script
    assert workspace.services.run("iris", {}) == {"result": 1}
    assert busy == []


@pytest.mark.parametrize(
    ("state", "problem"),
    [("Failed", "has no scoring URL: it is Failed"), ("Succeeded", "URL of service 'iris' is not known yet")],
)
def test_service_without_a_url(server: Server, workspace: Workspace, state: str, problem: str) -> None:
    service = {"id": "s1", "name": "iris", "computeResource": {}, "state": state}
    server.script = lambda _: Answer(200, {"value": [service]})
    with pytest.raises(errors.UsageError, match=problem):
        workspace.services.run("iris", {})
