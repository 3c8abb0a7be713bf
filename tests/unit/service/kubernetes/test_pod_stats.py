"""The thread that reads the load of pods."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import STATS_PORT
from mlmgmt_nb.service.compute.kubernetes.observing import pod_stats
from mlmgmt_nb.service.compute.kubernetes.observing.pod_stats import PodStats
from tests.support.waiting import eventually

READY = [{"metadata": {"uid": "u", "name": "iris-1", "labels": {SERVICE: "s"}}}]
REPORT = {"busy": 2, "waiting": 1, "limit": 4, "occupied": 0.5}


class Failing:
    """In the place of a connection: the first requests fail in a way that nobody expects."""

    def __init__(self, failures: int, seconds: float = 0.0) -> None:
        self.left = failures
        self.seconds = seconds
        self.asked: list[str] = []

    def path(self, kind: str, name: str) -> str:
        return f"{kind}/{name}"

    def text(self, path: str, query: dict[str, Any]) -> bytes:
        if self.left:
            self.left -= 1
            raise RuntimeError("not expected")
        self.asked.append(path)
        time.sleep(self.seconds)
        return json.dumps(REPORT).encode()


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Iterator[PodStats]:
    monkeypatch.setattr(pod_stats, "_TICK_SECONDS", 0.01)
    make: Callable[..., PodStats] = PodStats
    made = make(Failing(3), lambda: None)
    yield made
    made.stop(20)


def test_an_unexpected_failure_ends_no_thread_and_is_logged_once(
    stats: PodStats, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        stats.update(READY, {"s"})
        load = eventually(lambda: stats.load("s"))
    assert (load.busy, load.slots) == (3, 4)
    assert [record.message for record in caplog.records] == ["the load of the pods of a cluster cannot be read"]


def test_all_pods_are_asked_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads: the first answer ends no request that has not begun."""
    monkeypatch.setattr(pod_stats, "_TICK_SECONDS", 0.01)
    make: Callable[..., PodStats] = PodStats
    cluster = Failing(0, seconds=0.01)
    stats = make(cluster, lambda: None)
    pods = [{"metadata": {"uid": f"u{n}", "name": f"iris-{n}", "labels": {SERVICE: "s"}}} for n in range(40)]
    try:
        stats.update(pods, {"s"})
        eventually(lambda: cluster.asked.count(f"Pod/iris-0:{STATS_PORT}/proxy/") >= 2)
        assert len(set(cluster.asked[:40])) == 40
    finally:
        stats.stop(20)
