"""Reservations and competition: reserved resources are available, and a greedy service does not harm others."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from mlmgmt_nb.service.compute.cgroups import ControlGroups, find_groups
from tests.conftest import ServiceProcess
from tests.integration.service.drivers import ECHO, at_front_door, replicas, under_load
from tests.support.waiting import eventually

BURNS = (
    "import os, time\ndef init():\n    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    "def run(body):\n    end = time.monotonic() + float(body)\n    while time.monotonic() < end:\n        pass\n"
    "    return time.process_time()\n"
)
SLEEPS = "import time\ndef init():\n    pass\ndef run(body):\n    time.sleep(float(body))\n    return 1\n"
EATS = "held = []\ndef init():\n    pass\ndef run(body):\n    held.append(b'x' * int(body))\n    return len(held)\n"


@pytest.fixture
def groups() -> Iterator[ControlGroups]:
    """Return what this process can create, like the service that it starts."""
    found = find_groups()
    yield found
    found.close()


def test_scales_up_immediately_and_down_slowly_to_zero_and_wakes(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    api = start_service("--calm-seconds", "1")
    # There is room for three, although more may be requested.
    reservation = {"cpu": f"{(os.cpu_count() or 1) * 1000 // 3}m"}
    auto = {
        "autoscaleEnabled": True,
        "minReplicas": 0,
        "maxReplicas": 5,
        "targetUtilization": 30,
        "refreshPeriodInSeconds": 1,
    }
    settings: dict[str, Any] = {"autoScaler": auto, "containerResourceReservation": reservation}
    image = api.image(write_driver(SLEEPS))
    service = api.service(image["id"], **settings, maxConcurrentRequestsPerContainer=6)
    url = f"/services/{service['id']}"
    assert api.get(url)["numReplicas"] == 1  # the first replica shows that the driver loads
    with under_load(api, service, threads=6, body="0.3") as wrong:
        eventually(lambda: api.get(url)["numReplicas"] == 3, what="as many replicas as there may be")
        eventually(lambda: len(replicas(api, service)) == 3, what="their processes")
    assert wrong == []
    eventually(lambda: api.get(url)["numReplicas"] == 0, what="falling asleep")
    eventually(lambda: not replicas(api, service), what="the end of the last replica")
    changes = re.findall(r"autoscaler: (\d+) -> (\d+) replicas", api.log(f"{url}/logs"))
    assert all(int(after) <= 3 for _, after in changes)
    assert [change for change in changes if change[0] > change[1]] == [("3", "2"), ("2", "1"), ("1", "0")]
    key = api.get(f"{url}/keys")["primaryKey"]
    # Asleep it reserves nothing. While another service has all CPUs, it cannot wake.
    everything = {"cpu": str(os.cpu_count() or 1)}
    other = api.service(image["id"], "other", containerResourceReservation=everything)
    refused = api.score(service, "0", key)
    assert (refused.status_code, refused.json()["code"]) == (503, "NoReplicas"), refused.text
    assert "has no room for a replica" in refused.json()["message"]
    api.request("DELETE", f"/services/{other['id']}")
    eventually(lambda: api.request("GET", f"/services/{other['id']}").status_code == 404, what="the end of the other")
    # The request that wakes it is answered, at its own port and at the front door, also with a large body.
    asked = [service, at_front_door(api, service)] * 2
    bodies = ["0", "0", " " * 2**20 + "0", " " * 2**20 + "0"]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda one, body: api.score(one, body, key).status_code, asked, bodies))
    assert answers == [200] * 4
    assert api.get(url)["numReplicas"] == 1


def test_replicas_that_are_kept_for_a_rollback_hold_their_reservation(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    api = start_service("--calm-seconds", "1")

    def cores(percent: int) -> dict[str, str]:
        return {"cpu": f"{(os.cpu_count() or 1) * 10 * percent}m"}

    image = api.image(write_driver(SLEEPS))
    auto = {"autoscaleEnabled": True, "minReplicas": 0, "maxReplicas": 1, "refreshPeriodInSeconds": 1}
    sleeper = api.service(image["id"], "sleeper", autoScaler=auto, containerResourceReservation=cores(60))
    url = f"/services/{sleeper['id']}"
    eventually(lambda: api.get(url)["numReplicas"] == 0, what="falling asleep")
    key = api.get(f"{url}/keys")["primaryKey"]
    steady = api.service(image["id"], "steady", containerResourceReservation=cores(30))
    path = f"/services/{steady['id']}"
    assert api.operation(api.request("PUT", f"{path}/candidate", json={}))["state"] == "Succeeded"
    promoted = api.request("POST", f"{path}/candidate/promote", params={"keepWarm": "60"})
    assert api.operation(promoted)["state"] == "Succeeded"

    refused = api.create(image["id"], "third", containerResourceReservation=cores(60))
    assert refused.json()["code"] == "CapacityExceeded"
    assert "has no room for a replica" in api.score(sleeper, "0", key).json()["message"]
    assert api.operation(api.request("POST", f"{path}/rollback"))["state"] == "Succeeded"
    eventually(lambda: api.score(sleeper, "0", key).status_code == 200, what="room for the sleeper")


def test_two_services_that_want_the_same_core_get_what_they_reserved(
    api: Any, write_driver: Callable[..., Path], name: str, groups: ControlGroups
) -> None:
    image = api.image(write_driver(BURNS))
    services = [
        api.service(image["id"], f"{name}{letter}", containerResourceReservation={"cpu": cpu})
        for letter, cpu in (("a", "800m"), ("b", "200m"))
    ]
    used: dict[str, float] = {}

    def ask(service: Any) -> None:
        before = api.score(service, "0").json()
        used[service["id"]] = api.score(service, "2").json() - before

    threads = [threading.Thread(target=ask, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    much, little = (used[service["id"]] for service in services)
    assert little > 0.05  # nobody starves
    if groups.shares_cpus:
        assert much > 2 * little
    for service in services:
        assert api.request("DELETE", f"/services/{service['id']}").status_code == 200


def test_a_replica_that_takes_more_memory_than_reserved_is_ended_alone(
    api: Any, write_driver: Callable[..., Path], name: str, groups: ControlGroups
) -> None:
    reservation = {"containerResourceReservation": {"memory": "160Mi"}}
    greedy = api.service(api.image(write_driver(EATS))["id"], f"{name}a", **reservation)
    modest = api.service(api.image(write_driver(ECHO, "modest"))["id"], f"{name}b", **reservation)
    log = f"/services/{greedy['id']}/logs"
    if not groups.limits_memory:
        assert "not enforced" in api.log(log)
        return
    pids = [process.pid for process in replicas(api, modest)]
    with pytest.raises(requests.RequestException):
        api.score(greedy, str(2**29))
    eventually(
        lambda: "exceeded its reserved memory of 167,772,160 bytes" in api.log(log), what="the reason in the log"
    )
    assert api.score(greedy, "1").json() == 1
    assert api.score(modest, "1").text == "1"
    assert [process.pid for process in replicas(api, modest)] == pids


def test_a_reservation_that_is_too_small_ends_the_rollout_with_the_reason(
    api: Any, write_driver: Callable[..., Path], name: str, groups: ControlGroups
) -> None:
    if not groups.limits_memory:
        pytest.skip("no control group can be made here")
    image = api.image(write_driver("def init():\n    global x\n    x = b'x' * 2**28\n\ndef run(body):\n    return 1\n"))
    ended = api.operation(api.create(image["id"], name, containerResourceReservation={"memory": "100Mi"}))
    assert (ended["state"], ended["error"]["code"]) == ("Failed", "OutOfMemory")
    assert "104,857,600 bytes" in ended["error"]["message"]
