"""`kill -9` of the service at random moments: what it answered is what is there."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import ServiceProcess, eventually

DRIVER = "def init():\n    pass\n\ndef run(body):\n    return {says!r}\n"
ROUNDS = 6


class Client:
    """Asks for all kinds of things all the time, and remembers what it was told."""

    def __init__(self, service: ServiceProcess, folders: list[Path]) -> None:
        self.service = service
        self.folders = folders
        self.models: dict[str, dict[str, Any]] = {}
        self.operations: list[str] = []
        self.images: set[str] = set()

    def work(self, stop: threading.Event) -> None:
        actions = [self.register, self.register, self.build, self.create, self.update]
        chosen = random.Random(len(self.models))
        while not stop.is_set():
            try:
                chosen.choice(actions)()
            except requests.RequestException:
                # The service is dead: what was not answered may or may not have been done.
                return

    def register(self) -> None:
        answer = self.service.request("POST", "/models", json={"name": "m", "url": "file:///m", "mimeType": "a/b"})
        self.models[answer.json()["id"]] = answer.json()

    def build(self) -> None:
        folder = random.Random(len(self.operations)).choice(self.folders)
        manifest = self.service.manifest(folder)
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        self._begun(self.service.request("POST", "/images", json=request))

    def create(self) -> None:
        images = [i for i in self.service.get("/images")["value"] if i["creationState"] == "Succeeded"]
        if images and len(self.service.get("/services")["value"]) < 2:
            self._begun(self.service.create(images[0]["id"], f"svc-{len(self.operations)}"))

    def update(self) -> None:
        services, images = self.service.get("/services")["value"], self.service.get("/images")["value"]
        for service in services[:1]:
            image = next(i for i in images if i["creationState"] == "Succeeded")
            self._begun(self.service.request("PUT", f"/services/{service['id']}", json={"imageId": image["id"]}))

    def _begun(self, answer: requests.Response) -> None:
        if answer.status_code == 202:
            self.operations.append(answer.headers["Operation-Location"].rpartition("/")[2])
        else:
            assert answer.status_code == 409, answer.text


def processes_of(home: Path) -> list[psutil.Process]:
    """All processes that have anything to do with a state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if any(str(home) in part for part in command):
            found.append(process)
    return found


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
        worker.start()
        time.sleep(moments.uniform(0.1, 1.5))  # not a wait for something: the random moment is the test
        service.kill()
        stop.set()
        worker.join()
        # The replicas go with their service, so that the next one finds its ports free.
        eventually(lambda: not processes_of(service.home), what="the end of the replicas")
        service.start()

        for model in client.models.values():
            assert service.get(f"/models/{model['id']}") == model
        after = service.get(f"/services/{first['id']}")
        assert after["scoringUri"] == first["scoringUri"]
        assert service.get(f"/services/{first['id']}/keys") == keys
        eventually(lambda: _scores(service, first, keys["secondaryKey"]), what="the first service's answer")

    assert len(client.models) > ROUNDS
    assert client.operations
    for operation in client.operations:
        ended = eventually(partial(_ended, service, f"/operations/{operation}"), what="the operation")
        assert ended["state"] == "Succeeded" or ended["error"]["message"], ended
        assert service.request("GET", ended["resourceLocation"]).status_code == 200
    _versions_are_whole(service)
    living = {process.pid for process in [psutil.Process(service.process.pid), *service.children()]}
    assert {process.pid for process in processes_of(service.home)} <= living
    service.stop()
    assert processes_of(service.home) == []


def _all_belong(service: ServiceProcess) -> bool:
    """Whether all processes of a state folder are those of the service that runs on it now."""
    pids = {process.pid for process in processes_of(service.home)}
    return pids <= {service.process.pid, *(child.pid for child in service.children())}


def _scores(service: ServiceProcess, scored: Any, key: str) -> bool:
    try:
        return service.score(scored, "1", key).status_code == 200
    except requests.RequestException:
        return False


def _ended(service: ServiceProcess, url: str) -> Any:
    operation = service.get(url)
    return operation if operation["state"] not in {"NotStarted", "Running"} else None


def _versions_are_whole(service: ServiceProcess) -> None:
    versions, link = [], "/models"
    while link:
        page = service.get(link)
        versions += [model["version"] for model in page["value"]]
        link = page.get("nextLink")
    assert versions == list(range(len(versions), 0, -1))


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
    # What the driver itself started may outlive the crash; the next service ends it with its group.
    service.start()
    eventually(lambda: _all_belong(service), what="the end of what the crash left")
    service.stop()
    eventually(lambda: not processes_of(home), what="the end of everything")
