"""The thread that reads the load of pods."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing import pod_stats
from mlmgmt_nb.service.compute.kubernetes.observing.pod_stats import PodStats
from tests.support.waiting import eventually

READY = [{"metadata": {"uid": "u", "name": "iris-1", "labels": {SERVICE: "s"}}}]
REPORT = {"busy": 2, "waiting": 1, "limit": 4, "occupied": 0.5}


class Failing:
    """In the place of a connection: the first requests fail in a way that nobody expects."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    def path(self, kind: str, name: str) -> str:
        return f"{kind}/{name}"

    def text(self, path: str, query: dict[str, Any]) -> bytes:
        if self.left:
            self.left -= 1
            raise RuntimeError("not expected")
        return json.dumps(REPORT).encode()


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Iterator[PodStats]:
    monkeypatch.setattr(pod_stats, "_TICK_SECONDS", 0.01)
    make: Callable[..., PodStats] = PodStats
    made = make(Failing(3), lambda: None)
    yield made
    made.stop()


def test_an_unexpected_failure_ends_no_thread_and_is_logged_once(
    stats: PodStats, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        stats.update(READY, {"s"})
        load = eventually(lambda: stats.load("s"))
    assert (load.busy, load.slots) == (3, 4)
    assert [record.message for record in caplog.records] == ["the load of the pods of a cluster cannot be read"]
