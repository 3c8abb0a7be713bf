"""The pure step for computes that keep what they are told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.service.compute.declared.protocol import Cause, Observation, ObservedService
from mlmgmt_nb.service.reconciling.declared.actions import (
    Declare,
    Fail,
    Forget,
    Open,
    Release,
    Remove,
    Route,
    Scale,
    Succeed,
)
from mlmgmt_nb.service.reconciling.declared.desired import Desired
from mlmgmt_nb.service.reconciling.declared.reconciler import step
from mlmgmt_nb.service.reconciling.declared.reporting import error_of, progress_line

SURE, UNSURE = Cause("NoImage", "There is none.", is_certain=True), Cause("Pulling", "It is slow.")
ROLLING = {"target": "d2", "serving": "d1", "fingerprint": "new"}
KEPT = {"serving": "d1", "fingerprint": "old"}
CASES: list[tuple[str, dict[str, Any], dict[str, Any] | None, list[Any]]] = [
    ("a rollout is declared", ROLLING, {"fingerprint": "old"}, [Declare("s", "d2")]),
    ("a first rollout is declared", {**ROLLING, "serving": None}, None, [Declare("s", "d2")]),
    ("requests are accepted first", {**ROLLING, "is_open": False}, None, [Open("s")]),
    ("a rollout waits for its pods", ROLLING, {"fingerprint": "new"}, []),
    ("a rollout succeeds", ROLLING, {"fingerprint": "new", "is_complete": True}, [Succeed("s")]),
    (
        "a certain cause ends it",
        ROLLING,
        {"fingerprint": "new", "cause": SURE},
        [Fail("s", "NoImage", "There is none.")],
    ),
    ("another cause does not", ROLLING, {"fingerprint": "new", "cause": UNSURE}, []),
    (
        "it does after the time for starting",
        {**ROLLING, "since": -50.0},
        {"fingerprint": "new", "cause": UNSURE},
        [Fail("s", "Pulling", "The replicas did not become ready in time. It is slow.")],
    ),
    (
        "pods that are never ready end it",
        {**ROLLING, "since": -50.0},
        {"fingerprint": "new"},
        [Fail("s", "StartTimeout", "The replicas did not become ready in time.")],
    ),
    ("a refusal ends it", ROLLING, {"refused": ("new", SURE)}, [Fail("s", "NoImage", "There is none.")]),
    ("a refusal of something else does not", ROLLING, {"refused": ("old", SURE)}, [Declare("s", "d2")]),
    ("a passing refusal is tried again", ROLLING, {"refused": ("new", UNSURE)}, [Declare("s", "d2")]),
    ("a cause of the old pods does not end it", ROLLING, {"fingerprint": "old", "cause": SURE}, [Declare("s", "d2")]),
    ("what is right stays", KEPT, {"fingerprint": "old"}, []),
    ("pods that fail later are the cluster's", KEPT, {"fingerprint": "old", "cause": SURE}, []),
    ("what served is declared again", KEPT, {"fingerprint": "new"}, [Declare("s", "d1")]),
    ("what was deleted by hand, too", KEPT, None, [Declare("s", "d1")]),
    ("a load that changes scales", {**KEPT, "replicas": 3}, {"fingerprint": "old", "replicas": 2}, [Scale("s", 3)]),
    ("nothing is scaled twice", {**KEPT, "replicas": 3}, {"fingerprint": "old", "replicas": 3}, []),
    ("what the cluster scales is its own", KEPT, {"fingerprint": "old", "replicas": 2}, []),
    ("a rollout has its own scale", {**ROLLING, "replicas": 3}, {"fingerprint": "new", "replicas": 2}, []),
    ("nothing serves after a failed creation", {}, {"fingerprint": "new"}, [Remove("s")]),
    ("and then nothing is left to do", {}, None, []),
    ("a canary splits its requests", {**KEPT, "is_split": True}, {"fingerprint": "old"}, [Route("s")]),
    ("once", {**KEPT, "is_split": True, "is_routed": True}, {"fingerprint": "old"}, []),
    ("and its end gives them back", {**KEPT, "is_routed": True}, {"fingerprint": "old"}, [Release("s")]),
    (
        "a rollout does first",
        {**ROLLING, "is_routed": True},
        {"fingerprint": "old"},
        [Release("s"), Declare("s", "d2")],
    ),
    ("a deleted service is removed", {**KEPT, "deleting": True}, {"fingerprint": "old"}, [Remove("s")]),
    ("and forgotten when nothing is left", {**KEPT, "deleting": True}, None, [Forget("s")]),
]


@pytest.mark.parametrize(("desired", "seen", "actions"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_step(desired: dict[str, Any], seen: dict[str, Any] | None, actions: list[Any]) -> None:
    service = Desired(service_id="s", start_timeout=40.0, **desired)
    services = {} if seen is None else {"s": ObservedService(**seen)}
    assert step([service], Observation(services=services), 0.0) == actions


def test_what_nobody_knows_is_removed_once_it_exists() -> None:
    seen = {"lost": ObservedService(fingerprint="x"), "gone": ObservedService(exists=False)}
    assert step([], Observation(services=seen), 0.0) == [Remove("lost")]


@pytest.mark.parametrize("desired", [ROLLING, KEPT, {}, {**KEPT, "deleting": True}])
def test_nothing_is_decided_while_the_cluster_is_away(desired: dict[str, Any]) -> None:
    away = Observation(services={"lost": ObservedService()}, away=UNSURE, away_since=dt.datetime.now(dt.UTC))
    service = Desired(service_id="s", start_timeout=40.0, **desired)
    assert step([service], away, 0.0) == []
    waiting = msgspec.structs.replace(service, is_open=False)
    assert step([waiting], away, 0.0) == ([Open("s")] if service.fingerprint and not service.deleting else [])
    routed = msgspec.structs.replace(service, is_routed=True)
    assert step([routed], away, 0.0) == [Release("s")]  # in this process: the canary was stopped
    assert step([msgspec.structs.replace(routed, is_split=True)], away, 0.0) == []
    late = step([msgspec.structs.replace(service, since=-50.0)], away, 0.0)
    assert [type(action) for action in late] == ([Fail] if service.target else [])


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        ({"ready": 2, "replicas": 2}, "pods ready 2/2"),
        ({"ready": 1, "replicas": 2, "waiting": "1 pulling the image"}, "pods ready 1/2: 1 pulling the image"),
        ({"replicas": 1, "waiting": "1 starting", "cause": SURE}, "pods ready 0/1: There is none."),
        ({"replicas": 1, "cause": Cause("PodExited", "The last\nwords.")}, "pods ready 0/1: The last words."),
    ],
)
def test_the_log_says_what_pods_wait_for(seen: dict[str, Any], line: str) -> None:
    assert progress_line(ObservedService(**seen)) == f"[mlmgmt] {line}"


def test_a_service_says_its_problem_and_keeps_the_result_of_its_update() -> None:
    failed = ErrorResponse(code="DriverInitError", message="no")
    service = Desired(service_id="s", serving="d1", fingerprint="old")
    since = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    away = error_of(service, failed, Observation(services={}, away=UNSURE, away_since=since))
    assert away is not None
    assert (away.code, "2026-01-02 03:04:05 UTC" in (away.message or "")) == ("ClusterUnavailable", True)
    crashing = ObservedService(fingerprint="old", replicas=2, ready=1, cause=SURE)
    shown = error_of(service, away, Observation(services={"s": crashing}))
    assert shown is not None
    assert (shown.code, shown.message) == ("PodsNotReady", "1 of 2 pods are ready: There is none.")
    healthy = ObservedService(fingerprint="old", replicas=2, ready=2)
    assert error_of(service, shown, Observation(services={"s": healthy})) == failed
