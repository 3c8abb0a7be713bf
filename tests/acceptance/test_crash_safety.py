"""`kill -9` of the service at random moments: everything that it confirmed is still there."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ServiceProcess
from tests.faults.scene import Client, processes_of
from tests.support.searches import thorough
from tests.support.waiting import eventually

DRIVER = "def init():\n    pass\n\ndef run(body):\n    return {says!r}\n"
ROUNDS = thorough(6, 2)


@pytest.mark.timeout(300)
def test_nothing_that_was_answered_is_lost(tmp_path: Path, write_driver: Callable[..., Path]) -> None:
    moments = random.Random(7)
    service = ServiceProcess(tmp_path / "home")
    folders = [write_driver(DRIVER.format(says=says), says) for says in ("one", "two")]
    first = service.service(service.image(folders[0])["id"], "steady")
    keys = service.get(f"/services/{first['id']}/keys")
    client = Client(service, folders)
    for _ in range(ROUNDS):
        stop = threading.Event()
        worker = threading.Thread(target=client.work, args=(stop,))
        made = len(client.models)
        worker.start()
        eventually(partial(_has_more, client, made), what="a model of this round")
        time.sleep(moments.uniform(0.1, 1.5))  # not a wait for something: the random moment is the test
        service.kill()
        stop.set()
        worker.join()
        # The replicas end with their service, so that the ports are free for the next one.
        eventually(lambda: not processes_of(service.home), what="the end of the replicas")
        service.start()

        for model in client.models.values():
            assert service.get(f"/models/{model['id']}") == model
        after = service.get(f"/services/{first['id']}")
        assert after["scoringUri"] == first["scoringUri"]
        assert service.get(f"/services/{first['id']}/keys") == keys
        eventually(lambda: _scores(service, first, keys["secondaryKey"]), what="the first service's answer")

    assert len(client.models) >= ROUNDS
    assert client.operations
    client.check()
    assert _all_belong(service)
    service.stop()
    assert processes_of(service.home) == []


def _has_more(client: Client, models: int) -> bool:
    return len(client.models) > models


def _all_belong(service: ServiceProcess) -> bool:
    """Return whether all processes of a state folder belong to the service that runs on it now."""
    pids = {process.pid for process in processes_of(service.home)}
    return pids <= {service.process.pid, *(child.pid for child in service.children())}


def _scores(service: ServiceProcess, scored: Any, key: str) -> bool:
    try:
        return service.score(scored, "1", key).status_code == 200
    except requests.RequestException:
        return False


def test_a_replica_that_ignores_everything_does_not_outlive_its_service(
    tmp_path: Path, write_driver: Callable[..., Path]
) -> None:
    stubborn = (
        "import signal, subprocess, sys\ndef init():\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {mark!r}])\n"
        "def run(body):\n    return 1\n"
    )
    home = tmp_path / "home"
    service = ServiceProcess(home)
    service.service(service.image(write_driver(stubborn.format(mark=str(home))))["id"])
    service.kill()
    # Processes that the driver started may outlive the crash; the next service ends their group.
    service.start()
    eventually(lambda: _all_belong(service), what="the end of what the crash left")
    service.stop()
    eventually(lambda: not processes_of(home), what="the end of everything")
