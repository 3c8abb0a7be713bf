"""The time of day jumps by hours, forward and backward, while services run: nothing depends on it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_several_processes import rows
from tests.conftest import ServiceProcess
from tests.integration.service.drivers import ECHO, replicas, under_load
from tests.support import postgresql
from tests.support.clock import Clock
from tests.support.searches import long_search
from tests.support.waiting import eventually

NAP = "import time\ndef init():\n    pass\ndef run(body):\n    time.sleep(float(body))\n    return 'rested'\n"
BEATS = 3


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def pair(tmp_path: Path, clock: Clock) -> Iterator[list[ServiceProcess]]:
    """Two processes on one database, with that clock. The first leads."""
    home = tmp_path / "home"
    database = ("--database", postgresql.server().database_of(home), "--calm-seconds", "1")
    processes = [ServiceProcess(home, *database, environment=clock.environment)]
    processes.append(ServiceProcess(home, *database, environment=clock.environment))
    yield processes
    for one in processes:
        one.stop()


@long_search
def test_hours_forward_and_backward(
    pair: list[ServiceProcess], clock: Clock, write_driver: Callable[..., Path]
) -> None:
    first, second = pair
    steady = first.service(first.image(write_driver(ECHO))["id"], "steady")
    keys = first.get(f"/services/{steady['id']}/keys")
    lively = first.service(
        first.image(write_driver(NAP, "nap"))["id"],
        "lively",
        maxConcurrentRequestsPerContainer=1,
        autoScaler={"autoscaleEnabled": True, "minReplicas": 1, "maxReplicas": 2, "refreshPeriodInSeconds": 1},
    )
    operations = {one["id"] for one in first.get("/operations")["value"]}
    pids = {child.pid for child in replicas(first, steady)}
    members = members_of(first.home)
    models: list[Any] = []

    def jump(hours: int) -> None:
        """Wait for some heartbeats of both processes, and check that their roles have not changed."""
        clock.jump(hours)
        models.insert(0, second.model())
        assert clock.shows(models[0]["createdAt"]), "the service does not go by the clock of this test"
        before = members_of(first.home)
        eventually(lambda: beaten(before, members_of(first.home)), what="some beats")
        assert [row[:3] for row in members_of(first.home)] == [row[:3] for row in members]
        assert {child.pid for child in replicas(first, steady)} == pids
        assert second.score(steady, "1", keys["primaryKey"]).status_code == 200
        assert second.get(f"/services/{steady['id']}/keys") == keys
        assert operations <= {one["id"] for one in second.get("/operations")["value"]}

    jump(7)
    # While the time goes back, the autoscaler scales up at once and down again.
    with under_load(first, lively, body="0.3"):
        eventually(lambda: len(replicas(first, lively)) == 2, what="the second replica")
        jump(-5)
    eventually(lambda: len(replicas(first, lively)) == 1, what="its end")
    # An operation that begins before a jump and ends after it does not end before it began.
    clock.jump(8)
    update = first.request("PUT", f"/services/{steady['id']}", json={"imageId": lively["image"]["id"]})
    clock.jump(-8)
    ended = first.operation(update)
    assert ended["state"] == "Succeeded"
    assert dt.datetime.fromisoformat(ended["endTime"]) >= dt.datetime.fromisoformat(ended["createdTime"])

    # The newest is the last one, whatever its time; pages and versions are correct.
    clock.jump(0)
    models.insert(0, second.model())
    seen, link = [], "/models?count=1"
    while link:
        page = first.get(link)
        seen += page["value"]
        link = page.get("nextLink")
    assert seen == models
    assert [model["version"] for model in seen] == [3, 2, 1]
    # Records kept for 30 days survive a start at another time.
    clock.jump(30)
    second.stop()
    second.start()
    assert operations <= {one["id"] for one in second.get("/operations")["value"]}


def members_of(home: Path) -> list[tuple[Any, ...]]:
    return rows(home, "SELECT id, pid, leads, beats FROM processes ORDER BY place")


def beaten(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]) -> bool:
    return all(new[3] >= old[3] + BEATS for old, new in zip(before, after, strict=True))
