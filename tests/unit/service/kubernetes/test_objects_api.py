"""Listing and deleting the objects of a state folder, with a cluster that answers from memory."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.service.compute.kubernetes.api import free_room
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError
from mlmgmt_nb.service.compute.kubernetes.api.objects_api import ObjectsApi
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import (
    COMPONENT,
    INSTANCE,
    NAME,
    SERVICE,
    labels,
    object_name,
)
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import KINDS

ID = "0f136102-bc00-4000-8000-000000000000"
OURS = object_name("iris", ID)

NODE = {"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2"}}}
UNSCHEDULED = {"conditions": [{"type": "PodScheduled", "status": "False"}]}
NODES = ("GET", "/api/v1/nodes")


class Memory:
    """In the place of a connection: lists of objects by kind, and the requests."""

    def __init__(self) -> None:
        self.found: dict[str, list[Any]] = {kind: [made(OURS)] for kind in KINDS}
        self.found |= {"Pod": [made(f"{OURS}-1")], "Event": []}
        self.found |= {"/api/v1/nodes": [NODE], "/api/v1/pods": []}
        self.requests: list[tuple[str, str]] = []
        self.refused: set[tuple[str, str]] = set()

    def path(self, kind: str, name: str | None = None) -> str:
        return kind if name is None else f"{kind}/{name}"

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        self.requests.append((method, path))
        if (method, path) in self.refused:
            raise ClusterError("Forbidden", "The cluster refused the request: no.", 403)
        return {"items": self.found[path]} if method == "GET" else {}


def made(name: str, without: str = "") -> dict[str, Any]:
    """Return an object of a service, without one of its labels."""
    given = {key: value for key, value in labels("iris", ID, "home-1").items() if key != without}
    return {"metadata": {"name": name, "uid": name, "labels": given}, "spec": {"replicas": 0}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the room of nodes is read by; it stands still."""
    now = [1000.0]
    monkeypatch.setattr(free_room, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def objects(memory: Memory) -> ObjectsApi:
    make: Callable[..., ObjectsApi] = ObjectsApi
    return make(memory, "home-1")


@pytest.mark.parametrize("label", [SERVICE, NAME, COMPONENT, INSTANCE])
def test_what_lost_a_label_is_missing(memory: Memory, objects: ObjectsApi, label: str) -> None:
    """It is applied again, which restores the label."""
    memory.found["Service"] = [made(OURS, without=label)]
    listed = objects.list()
    assert listed.objects["Service"] == []
    assert [len(listed.objects[kind]) for kind in KINDS].count(1) == len(KINDS) - 1


def test_a_pod_without_the_label_of_its_service_is_not_one_of_its_pods(memory: Memory, objects: ObjectsApi) -> None:
    memory.found["Pod"] += [made(f"{OURS}-2", without=SERVICE), made(f"{OURS}-3", without=NAME)]
    assert [pod["metadata"]["name"] for pod in objects.list().pods] == [f"{OURS}-1", f"{OURS}-3"]


def test_a_copy_of_our_labels_is_not_ours(memory: Memory, objects: ObjectsApi) -> None:
    """`kubectl expose deployment iris-... --name public` makes such a Service, which stays its user's."""
    memory.found["Service"].append(made("public"))
    assert [each["metadata"]["name"] for each in objects.list().objects["Service"]] == [OURS]
    objects.delete(ID)
    deleted = [path for method, path in memory.requests if method == "DELETE"]
    assert deleted == [f"{kind}/{OURS}" for kind in reversed(KINDS)]


def test_what_lost_the_label_of_its_name_is_still_deleted(memory: Memory, objects: ObjectsApi) -> None:
    memory.found["Secret"] = [made(OURS, without=INSTANCE)]
    objects.delete(ID)
    assert ("DELETE", f"Secret/{OURS}") in memory.requests


def test_nodes_are_listed_only_for_a_pod_without_one(memory: Memory, objects: ObjectsApi) -> None:
    """An event of anybody about another pod, which stays for an hour, says nothing of ours."""
    memory.found["Event"] = [{"reason": "FailedScheduling"}]
    assert objects.list(with_events=True).room is None
    assert NODES not in memory.requests
    memory.found["Pod"][0]["status"] = UNSCHEDULED
    assert objects.list(with_events=True).room == "2 cpu on n1"


def test_the_room_of_nodes_is_kept_for_a_while(memory: Memory, objects: ObjectsApi, clock: list[float]) -> None:
    memory.found["Pod"][0]["status"] = UNSCHEDULED
    for _ in range(5):
        assert objects.list(with_events=True).room == "2 cpu on n1"
    assert memory.requests.count(NODES) == 1
    clock[0] += 11
    objects.list(with_events=True)
    assert memory.requests.count(NODES) == 2


def test_a_permission_that_is_given_later_is_found(memory: Memory, objects: ObjectsApi, clock: list[float]) -> None:
    memory.found["Pod"][0]["status"] = UNSCHEDULED
    memory.refused = {NODES}
    for seconds in (0, 11):
        clock[0] += seconds
        assert objects.list(with_events=True).room is None
    assert memory.requests.count(NODES) == 1
    memory.refused = set()
    clock[0] += 301
    assert objects.list(with_events=True).room == "2 cpu on n1"
