"""Events of a cluster in the logs of services."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.events import NewEvents
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed


def event(uid: str, kind: str, name: str, second: int, reason: str = "Said") -> dict[str, Any]:
    about = {"kind": kind, "name": name}
    time = f"2026-01-01T00:00:{second:02}Z"
    return {
        "metadata": {"uid": uid},
        "involvedObject": about,
        "lastTimestamp": time,
        "reason": reason,
        "message": "this",
    }


def listed(*events: dict[str, Any]) -> Listed:
    made = {"metadata": {"name": "iris-0f136102bc", "labels": {SERVICE: "s1"}}}
    return Listed(objects={"Deployment": [made]}, pods=(), events=events, now=dt.datetime.now(dt.UTC))


def test_events_of_all_objects_of_a_service_are_told_once_in_their_order() -> None:
    events = NewEvents("")
    first = listed(
        event("3", "Pod", "iris-0f136102bc-5677d86947-ht9kx", 3, "Killing"),
        event("2", "ReplicaSet", "iris-0f136102bc-5677d86947", 2),
        event("1", "Deployment", "iris-0f136102bc", 1),
        event("4", "Pod", "iris-0f136102bc-5677d86947-ht9kx", 4, "Unhealthy"),
        event("5", "Pod", "iris-0f136102bcd-1-1", 5),
        event("6", "Pod", "other", 5),
        event("7", "Node", "iris-0f136102bc-n1", 5),
    )
    assert list(events.take(first)) == [
        ("s1", "iris-0f136102bc: [kubernetes] 2026-01-01T00:00:01Z Said: this"),
        ("s1", "iris-0f136102bc-5677d86947: [kubernetes] 2026-01-01T00:00:02Z Said: this"),
        ("s1", "iris-0f136102bc-5677d86947-ht9kx: [kubernetes] 2026-01-01T00:00:03Z Killing: this"),
    ]
    assert list(events.take(first)) == []
    assert events.last == "2026-01-01T00:00:03Z"


def test_a_restarted_service_repeats_no_event() -> None:
    events = NewEvents("2026-01-01T00:00:02Z")
    found = events.take(
        listed(event("1", "Deployment", "iris-0f136102bc", 2), event("2", "Service", "iris-0f136102bc", 3))
    )
    assert [line.split()[2] for _, line in found] == ["2026-01-01T00:00:03Z"]
