"""A cluster that responds late, or that is to stop meanwhile: who waits for it, and who does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.kubernetes import cluster as cluster_module
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError
from mlmgmt_nb.service.compute.kubernetes.cluster import KubernetesCluster
from mlmgmt_nb.service.compute.kubernetes.clusters import Clusters
from tests.support.waiting import eventually
from tests.unit.service.kubernetes.test_directions import Router, controller_of


class Hanging:
    """Makes clusters whose requests hang until `end` is set, and then fail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.end = threading.Event()
        self.requests = 0
        self.made: list[KubernetesCluster] = []

    def __call__(self, name: str, settings: ClusterSettings) -> KubernetesCluster:
        make: Callable[..., KubernetesCluster] = KubernetesCluster
        made = make(settings, "home-1", self._folder / name, None, lambda: None, lambda _: None, 1.0)
        made._check = self._ask  # type: ignore[method-assign]
        self.made.append(made)
        return made

    def _ask(self) -> None:
        self.requests += 1
        self.end.wait(60)
        raise ClusterError("Unreachable", "The API server does not respond.")


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr(cluster_module, "_STOP_SECONDS", 0.2)
    made = Hanging(tmp_path / "clusters")
    yield made
    made.end.set()


def test_other_settings_do_not_wait_for_a_cluster_that_does_not_respond(tmp_path: Path, hanging: Hanging) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text("[small]\n")
    clusters = Clusters(file, None, hanging)
    old = clusters.current()["small"]
    old.observe()
    eventually(lambda: hanging.requests == 1, what="a request")
    file.write_text('[small]\nnamespace = "another"\n')
    began = time.monotonic()
    new = clusters.current()["small"]
    assert time.monotonic() - began < 10
    assert new is not old
    new.retire()


def test_a_stop_does_not_wait_for_a_cluster_that_does_not_respond(hanging: Hanging) -> None:
    cluster = hanging("small", ClusterSettings())
    cluster.observe()
    eventually(lambda: hanging.requests == 1, what="a request")
    thread = cluster._thread
    assert thread is not None
    began = time.monotonic()
    cluster.stop()
    assert time.monotonic() - began < 10
    hanging.end.set()
    thread.join(20)
    assert not thread.is_alive(), "it ends with the response"
    assert cluster._observation is None, "which comes too late"


def test_a_cluster_runs_again_while_a_thread_of_before_still_waits(hanging: Hanging) -> None:
    """Another process may have led for a moment."""
    cluster = hanging("small", ClusterSettings())
    cluster.observe()
    eventually(lambda: hanging.requests == 1, what="a request")
    before = cluster._thread
    cluster.stop()
    cluster.observe()
    eventually(lambda: hanging.requests == 2, what="a request of the second thread")
    hanging.end.set()
    assert before is not None
    before.join(20)
    assert not before.is_alive()
    eventually(lambda: (seen := cluster.observe()) is not None and seen.away is not None, what="an observation")
    cluster.retire()
    assert cluster.observe() is None


def test_clusters_stop_side_by_side() -> None:
    both = threading.Barrier(2)

    class Compute:
        def observe(self) -> None:
            return None

        def stop(self) -> None:
            both.wait(20)

    computes: dict[str, Any] = {"a": Compute(), "b": Compute()}
    controller = controller_of(computes, Router())
    controller.run({})
    controller.stop()
    assert not both.broken


def test_the_url_of_a_service_is_known_after_the_first_look(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = hanging("small", ClusterSettings(expose="nodeport"))

    def look(_: threading.Event) -> float:
        hanging.end.wait(20)
        cluster._urls = {"s": "http://node:30001"}
        return 20.0

    monkeypatch.setattr(cluster, "_round", look)
    threading.Timer(0.5, hanging.end.set).start()
    assert cluster.url("s") == "http://node:30001"
    cluster.retire()


def test_nobody_waits_for_the_url_at_a_cluster_that_has_been_found_away(hanging: Hanging) -> None:
    cluster = hanging("small", ClusterSettings(expose="nodeport"))
    hanging.end.set()
    assert cluster.url("s") is None
    cluster.retire()
