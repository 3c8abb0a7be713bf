"""Listing and deleting the objects of a state folder, with a cluster that answers from memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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


class Memory:
    """In the place of a connection: lists of objects by kind, and the requests."""

    def __init__(self) -> None:
        self.found: dict[str, list[Any]] = {kind: [made(OURS)] for kind in KINDS}
        self.found |= {"Pod": [made(f"{OURS}-1")], "Event": []}
        self.requests: list[tuple[str, str]] = []

    def path(self, kind: str, name: str | None = None) -> str:
        return kind if name is None else f"{kind}/{name}"

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        self.requests.append((method, path))
        return {"items": self.found[path]} if method == "GET" else {}


def made(name: str, without: str = "") -> dict[str, Any]:
    """Return an object of a service, without one of its labels."""
    given = {key: value for key, value in labels("iris", ID, "home-1").items() if key != without}
    return {"metadata": {"name": name, "uid": name, "labels": given}, "spec": {"replicas": 0}}


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
