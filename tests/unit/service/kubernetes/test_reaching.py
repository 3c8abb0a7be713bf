"""The way to pods when nodes are lost, with nodes that answer or not by a list."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.forwarding.relay import Target
from mlmgmt_nb.service.compute.kubernetes.cluster import KubernetesCluster
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import KINDS
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed
from mlmgmt_nb.service.compute.kubernetes.reaching import directions, nodes
from mlmgmt_nb.service.compute.kubernetes.reaching.reach import PodReach

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class Cluster:
    """In the place of a connection: nodes, those that respond, and the time."""

    server = "https://api.example.org:6443"

    def __init__(self) -> None:
        self.nodes = ["n1", "n2", "n3"]
        self.unready: set[str] = set()
        self.living = {"n1", "n2", "n3"}
        self.failing_ports: set[int] = set()
        self.tried: list[tuple[str, int]] = []
        self.now = 1000.0

    def request(self, method: str, path: str) -> Any:
        return {"items": [self._node(name) for name in self.nodes]}

    def responds(self, host: str, port: int) -> bool:
        self.tried.append((host, port))
        return host in self.living and port not in self.failing_ports

    def _node(self, name: str) -> dict[str, Any]:
        ready = {"type": "Ready", "status": str(name not in self.unready)}
        return {"status": {"addresses": [{"type": "InternalIP", "address": name}], "conditions": [ready]}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(nodes, "responds_at", made.responds)
    monkeypatch.setattr(nodes, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def reach(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> PodReach:
    return reach_of(cluster, monkeypatch)


def reach_of(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> PodReach:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    make: Callable[..., PodReach] = PodReach
    return make(cluster, ClusterSettings(**settings))


def service(port: int) -> dict[str, Any]:
    spec = {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": port}]}
    return {"metadata": {"labels": {SERVICE: f"s{port}"}}, "spec": spec}


def pod(port: int) -> dict[str, Any]:
    return {"metadata": {"name": f"pod-{port}", "labels": {SERVICE: f"s{port}"}}, "status": READY}


def look(reach: PodReach, *ports: int) -> list[str]:
    """Make a round, as the thread of a cluster does; return the ways to the pods of all services."""
    services, pods = [service(port) for port in ports], [pod(port) for port in ports]
    reach.check(Listed(objects={"Service": services}, pods=pods, now=dt.datetime.now(dt.UTC)))
    found = [reach.target(each, [one]) for each, one in zip(services, pods, strict=True)]
    return [each.shown if isinstance(each, Target) else each for each in found]


def test_another_node_takes_the_place_of_a_lost_one(cluster: Cluster, reach: PodReach) -> None:
    assert look(reach, 30001, 30002) == ["node port n1:30001", "node port n1:30002"]
    cluster.living.remove("n1")
    cluster.now += 6
    assert look(reach, 30001, 30002)[0] == "node port n1:30001", "one failure may be an accident"
    cluster.now += 2
    assert look(reach, 30001, 30002) == ["node port n2:30001", "node port n2:30002"]
    assert reach.find_node(service(30001), has_pods=True) == "n2", "scoring URLs have it too"
    assert reach.find_node(service(30002), has_pods=False) == "n2"


def test_port_forwards_help_until_a_node_responds(cluster: Cluster, reach: PodReach) -> None:
    look(reach, 30001)
    cluster.living.clear()
    for seconds in (6, 2):
        cluster.now += seconds
        shown = look(reach, 30001)
    assert shown == ["a port-forward"]
    cluster.living = {"n3"}
    assert look(reach, 30001) == ["a port-forward"], "it is not tried in each round"
    cluster.now += 3
    assert look(reach, 30001) == ["node port n3:30001"]


def test_a_node_is_checked_every_few_seconds_and_not_for_each_service(cluster: Cluster, reach: PodReach) -> None:
    ports = range(30001, 30021)
    look(reach, *ports)
    look(reach, *ports)
    cluster.tried.clear()
    for _ in range(10):
        look(reach, *ports)
        cluster.now += 0.3
    assert len(cluster.tried) <= 1
    cluster.now += 6
    look(reach, *ports)
    assert 1 <= len(cluster.tried) <= 2


def test_a_service_that_does_not_respond_is_no_lost_node(cluster: Cluster, reach: PodReach) -> None:
    look(reach, 30002, 30001)
    cluster.failing_ports = {30001}
    for _ in range(6):
        cluster.now += 6
        assert look(reach, 30001, 30002) == ["node port n1:30001", "node port n1:30002"]


def test_one_lost_pod_of_several_is_no_lost_node(
    cluster: Cluster, reach: PodReach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node forwards a request to any pod, also to one on another node that is lost."""
    look(reach, 30001)
    count = 0

    def every_third(host: str, port: int) -> bool:
        nonlocal count
        count += 1
        return count % 3 == 0

    monkeypatch.setattr(nodes, "responds_at", every_third)
    for _ in range(6):
        cluster.now += 6
        assert look(reach, 30001) == ["node port n1:30001"]


def test_nodes_that_the_cluster_believes_to_be_lost_come_last(cluster: Cluster, reach: PodReach) -> None:
    cluster.nodes = ["n5", "n6", "n7", "n1"]
    cluster.unready = {"n5", "n6", "n7"}
    assert look(reach, 30001) == ["node port n1:30001"]


def test_an_address_of_the_settings_is_not_tried(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    reach = reach_of(cluster, monkeypatch, node_address="n9")
    for _ in range(3):
        cluster.now += 6
        assert look(reach, 30001) == ["node port n9:30001"]
    assert not cluster.tried


@pytest.mark.parametrize(
    ("before", "is_tried"),
    [
        (None, True),
        ("No pod of this service is ready.", True),
        (Target("a port-forward"), True),
        (Target("another service", ("n1", 30002)), True),
        (Target("the same", ("n2", 30001)), False),
        (Target("the node before", ("n1", 30001)), False),
    ],
)
def test_a_new_address_is_used_once_it_responds(monkeypatch: pytest.MonkeyPatch, before: Any, is_tried: bool) -> None:
    """At the same port of another node, connections try until a pod answers, which a single request cannot."""
    monkeypatch.setattr(directions, "responds", lambda target: False)
    target = Target("node port n2:30001", ("n2", 30001))
    assert isinstance(directions._usable(target, before), str) is is_tried


@pytest.mark.parametrize("is_observed", [True, False], ids=["runs services", "only returns URLs"])
def test_each_round_checks_the_node_before_services_are_directed(
    cluster: Cluster, reach: PodReach, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_observed: bool
) -> None:
    settings = ClusterSettings(expose="nodeport")
    make: Callable[..., KubernetesCluster] = KubernetesCluster
    whole = make(settings, "home-1", tmp_path, None, lambda: None, lambda _: None, 1.0)
    seen = Listed(objects={kind: [] for kind in KINDS}, pods=[], now=dt.datetime.now(dt.UTC))
    done: list[str] = []

    def find_urls(listed: Listed) -> dict[str, str]:
        done.append("direct")
        return {}

    monkeypatch.setattr(whole, "_check", lambda: None)
    monkeypatch.setattr(whole, "_is_observed", is_observed)
    monkeypatch.setattr(whole._objects, "list", lambda **_: seen)
    monkeypatch.setattr(whole._reach, "check", lambda listed: done.append("check"))
    monkeypatch.setattr(whole._directions, "update", lambda *_: done.append("direct"))
    monkeypatch.setattr(whole, "_find_urls", find_urls)
    whole._round(threading.Event())
    assert (done.count("check"), done[0], "direct" in done) == (1, "check", True)
