"""What one service is refused does not stop the others; a cluster that does not respond stops all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.declared.protocol import Declaration
from mlmgmt_nb.service.compute.kubernetes import applying
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError
from mlmgmt_nb.service.compute.kubernetes.applying import Applier
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import build_objects
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed
from tests.unit.service.kubernetes.test_objects import DECLARATION_OF_TEST

AWAY = [None, 401, 429, 502, 503, 504]


class Objects:
    """In the place of the objects of a cluster: each request for a service in `errors` fails.

    Attributes:
        meanwhile: called while a request is in progress.
    """

    def __init__(self) -> None:
        self.errors: dict[str, ClusterError] = {}
        self.requests: list[tuple[str, str]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def apply(self, wanted: dict[str, Any], on_conflict: Callable[[str], None]) -> dict[str, Any]:
        self._ask("apply", wanted["metadata"]["labels"][SERVICE])
        return {**wanted, "metadata": {**wanted["metadata"], "uid": "u", "resourceVersion": "1"}}

    def delete(self, service_id: str, kinds: Collection[str] = ()) -> None:
        if not kinds:
            self._ask("delete", service_id)

    def scale(self, name: str, replicas: int) -> None:
        self._ask("scale", name)

    def _ask(self, verb: str, service_id: str) -> None:
        self.requests.append((verb, service_id))
        self.meanwhile()
        if service_id in self.errors:
            raise self.errors[service_id]


class Setting:
    """An applier, its objects, and the lines that it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.objects = Objects()
        self.notes: list[str] = []
        make: Callable[..., Applier] = Applier
        self.applier = make(self.objects, build, lambda _: None, lambda id_, text: self.notes.append(f"{id_}: {text}"))
        monkeypatch.setattr(applying, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Setting:
    return Setting(monkeypatch)


def build(declaration: Declaration) -> list[dict[str, Any]]:
    return build_objects(declaration, ClusterSettings(), "home-1", needs_node_port=False)


def declared(service_id: str) -> Declaration:
    return msgspec.structs.replace(DECLARATION_OF_TEST, service_id=service_id)


def failure(status: int | None) -> ClusterError:
    return ClusterError("Failed", "The cluster refused the request: no.", status)


@pytest.mark.parametrize("status", [403, 422, 500])
def test_a_refused_removal_is_noted_and_tried_again(setting: Setting, status: int) -> None:
    setting.objects.errors["bad"] = failure(status)
    for service_id in ("bad", "good"):
        setting.applier.remove(service_id)
    setting.applier.run()
    assert set(setting.objects.requests) == {("delete", "bad"), ("delete", "good")}
    assert setting.notes == [
        "bad: the service cannot be removed from the cluster: The cluster refused the request: no."
    ]
    left = {"Secret": [{"metadata": {"labels": {SERVICE: "bad"}}}]}
    setting.applier.forget_removed(Listed(objects=left, pods=(), now=dt.datetime.now(dt.UTC)))
    assert not setting.applier.is_busy, "it is not tried again at once"
    setting.now += 3
    assert setting.applier.is_busy
    setting.applier.run()
    assert setting.objects.requests.count(("delete", "bad")) == 2
    assert len(setting.notes) == 1, "the same refusal is not noted each time"
    setting.objects.errors.clear()
    setting.now += 3
    setting.applier.run()
    setting.applier.forget_removed(Listed(objects={}, pods=(), now=dt.datetime.now(dt.UTC)))
    assert not setting.applier.is_busy


@pytest.mark.parametrize(("status", "is_certain"), [(403, True), (422, True), (409, False), (500, False)])
def test_a_refused_declaration_does_not_stop_the_others(setting: Setting, status: int, is_certain: bool) -> None:
    """A webhook that does not respond makes the cluster answer with 500: it may respond again before the deadline."""
    setting.objects.errors["bad"] = failure(status)
    for service_id in ("bad", "good"):
        setting.applier.declare(declared(service_id))
    setting.applier.run()
    assert setting.applier.applied.keys() == {"good"}
    assert setting.applier.refused["bad"][1].is_certain is is_certain
    setting.objects.errors.clear()
    setting.now += 3
    setting.applier.declare(declared("bad"))
    setting.applier.run()
    assert setting.applier.applied.keys() == {"good", "bad"}
    assert not setting.applier.refused


@pytest.mark.parametrize("status", AWAY)
def test_a_cluster_that_is_away_stops_all(setting: Setting, status: int | None) -> None:
    setting.objects.errors["bad"] = failure(status)
    setting.applier.declare(declared("bad"))
    with pytest.raises(ClusterError):
        setting.applier.run()
    assert not setting.applier.refused
    setting.applier.remove("bad")
    with pytest.raises(ClusterError):
        setting.applier.run()
    assert setting.applier.is_busy
    assert not setting.notes


def test_declarations_that_a_cluster_did_not_take_are_due_again(setting: Setting) -> None:
    names = {"a", "b", "c"}
    for service_id in names:
        setting.objects.errors[service_id] = failure(None)
        setting.applier.declare(declared(service_id))
    with pytest.raises(ClusterError):
        setting.applier.run()
    assert len(setting.objects.requests) == 1, "the cluster is away"
    setting.objects.errors.clear()
    setting.applier.run()
    assert setting.applier.applied.keys() == names
    assert not setting.applier.is_busy


def test_a_service_that_is_deleted_while_its_request_hangs_stays_deleted(setting: Setting) -> None:
    setting.applier.declare(declared("iris"))
    setting.objects.errors["iris"] = failure(None)
    setting.objects.meanwhile = lambda: setting.applier.remove("iris")
    with pytest.raises(ClusterError):
        setting.applier.run()
    setting.objects.meanwhile = lambda: None
    setting.objects.errors.clear()
    setting.applier.declare(declared("other"))
    setting.applier.run()
    assert setting.applier.applied.keys() == {"other"}
    assert setting.objects.requests[-1] == ("delete", "iris")


def test_nothing_more_is_applied_after_a_stop(setting: Setting) -> None:
    """Another process may run the services by then."""
    for service_id in ("a", "b"):
        setting.applier.declare(declared(service_id))
    setting.objects.meanwhile = setting.applier.clear
    setting.applier.run()
    assert len({service_id for _, service_id in setting.objects.requests}) == 1


@pytest.mark.parametrize("status", [403, 500])
def test_a_refused_number_of_replicas_is_noted_once_a_minute(setting: Setting, status: int) -> None:
    setting.applier.declare(declared("bad"))
    setting.applier.run()
    setting.objects.errors[build(declared("bad"))[0]["metadata"]["name"]] = failure(status)
    for seconds in (0, 1, 60):
        setting.now += seconds
        setting.applier.scale("bad", 2)
        setting.applier.run()
    assert [verb for verb, _ in setting.objects.requests].count("scale") == 3
    assert len(setting.notes) == 2
