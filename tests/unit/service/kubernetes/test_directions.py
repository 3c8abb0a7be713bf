"""The ports of services when the settings of their cluster change: one cluster gives them up, another opens them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.service.compute.declared.protocol import Observation, ObservedService, StoppedError
from mlmgmt_nb.service.compute.kubernetes.reaching.directions import Directions
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.reconciling.declared.controller import DeclaredController
from tests.support.waiting import eventually

PORTS = (23100, 23199)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners("127.0.0.1", PORTS, lambda: None)
    yield made
    made.close_all()


def directions_at(listeners: Listeners) -> Directions:
    make: Callable[..., Directions] = Directions
    return make(None, listeners, lambda: None, 20.0)


def opens(directions: Directions, port: int) -> bool:
    try:
        return directions.open("s", port) == port
    except OSError:
        return False


def test_a_retired_cluster_leaves_ports_to_its_successor(listeners: Listeners) -> None:
    old, new = directions_at(listeners), directions_at(listeners)
    port = old.open("s", None)
    old.retire()
    with pytest.raises(StoppedError):
        old.open("s", port)
    eventually(lambda: opens(new, port), what="the port")
    old.close("s")
    old.stop()
    assert "s" in new
    new.stop()


def test_calls_about_ports_that_were_closed_meanwhile_say_so(listeners: Listeners) -> None:
    directions = directions_at(listeners)
    directions.open("s", None)
    directions.stop()
    calls: list[Callable[[], object]] = [
        lambda: directions.private_port("s"),
        lambda: directions.divert("s", lambda *_: True),
        lambda: directions.accept("s"),
        lambda: directions.socket_of("s"),
    ]
    for call in calls:
        with pytest.raises(StoppedError):
            call()
    assert not directions.has_waiting("s")
    assert directions.obstacle("s") is None


def test_ports_can_be_opened_again_after_a_stop(listeners: Listeners) -> None:
    """Another process may have led for a while."""
    directions = directions_at(listeners)
    port = directions.open("s", None)
    directions.stop()
    assert opens(directions, port)
    directions.stop()


class Compute:
    """In the place of a cluster: one service, which is complete."""

    scales_itself = False

    def __init__(self, directions: Directions) -> None:
        self._directions = directions
        self.open = directions.open
        self.private_port = directions.private_port

    def observe(self) -> Observation:
        return Observation(services={"s": ObservedService(fingerprint="f", replicas=1, ready=1, is_complete=True)})

    def is_open(self, service_id: str) -> bool:
        return service_id in self._directions

    def fingerprint(self, _: object) -> str:
        return "f"


class Router:
    """In the place of a router: one service is routed, and keeps its port until it is released."""

    def __init__(self) -> None:
        self.routed: dict[str, socket.socket] = {}

    def is_routed(self, service_id: str) -> bool:
        return service_id in self.routed

    def release(self, service_id: str) -> None:
        self.routed.pop(service_id).close()

    def stop(self) -> None:
        """Have nothing to stop."""


def controller_of(computes: dict[str, Any], router: Router) -> DeclaredController:
    nothing: Any = SimpleNamespace(begin=lambda _: None, set=lambda *_, **__: None, log=lambda _: None)
    declarations: Any = SimpleNamespace(make=lambda *_: SimpleNamespace(bounds=None))
    settings: Any = SimpleNamespace(calm_seconds=1.0, start_timeout=1.0)
    make: Callable[..., DeclaredController] = DeclaredController
    return make(lambda: computes, router, nothing, declarations, settings, lambda: 0.0)


def row_at(port: int) -> Any:
    return SimpleNamespace(
        id="s",
        compute_id="k",
        candidate_of=None,
        deleting=False,
        target_id=None,
        deployment_id="d",
        serving_status="Active",
        serving_spec=SimpleNamespace(auto_scaler=None),
        scale=None,
        error=None,
        port=port,
    )


def test_a_round_with_a_retired_cluster_ends_and_the_next_cluster_gets_its_round(listeners: Listeners) -> None:
    old, new = directions_at(listeners), directions_at(listeners)
    port = old.open("s", None)
    old.retire()
    other = SimpleNamespace(observe=lambda: asked.append("other"))
    asked: list[str] = []
    controller_of({"k": Compute(old), "other": other}, Router()).run({"s": row_at(port)})
    assert "s" not in old
    assert asked == ["other"]
    old.stop()
    controller_of({"k": Compute(new)}, Router()).run({"s": row_at(port)})
    assert "s" in new
    new.stop()


def test_the_port_of_a_routed_service_goes_to_the_next_cluster(listeners: Listeners) -> None:
    """A router listens at the port of a service with a canary, also after its cluster was retired."""
    old, new, router = directions_at(listeners), directions_at(listeners), Router()
    port = old.open("s", None)
    router.routed["s"] = old.socket_of("s").dup()
    old.retire()
    old.stop()
    traffic = SimpleNamespace(is_active=True)
    candidate: Any = SimpleNamespace(candidate_of="s", compute_id="local", deleting=False, port=1, traffic=traffic)
    controller_of({"k": Compute(new)}, router).run({"s": row_at(port), "c": candidate})
    assert "s" in new
    new.stop()
