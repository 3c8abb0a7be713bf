"""Faults of processes: killed, stopped, restarted, and in the way of each other."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests

from mlmgmt_nb import local
from mlmgmt_nb.service.building.builder import MAX_ATTEMPTS
from tests.faults.scene import (
    CALLERS,
    DRIVER,
    HANG_SECONDS,
    Scene,
    address,
    command_of,
    processes_of,
    random_moment,
)
from tests.integration.service.drivers import replicas, trouble
from tests.support.endless_build import endless_package
from tests.support.waiting import eventually

__all__ = [
    "kill_build",
    "kill_everything",
    "kill_process_group",
    "kill_replica",
    "kill_replica_during_update",
    "kill_service",
    "kill_service_during_update",
    "kill_service_each_time_it_builds",
    "kill_service_while_it_builds",
    "port_taken",
    "stop_and_start",
    "stop_replica",
    "stop_service",
]


def kill_service(scene: Scene, moments: random.Random) -> None:
    """Kill the service (`kill -9`) while it registers, builds, updates and scores: confirmed results exist afterwards,
    started work ends, and the services return at their URLs with their keys.
    """
    with scene.working(), scene.scoring():
        random_moment(moments, 1.5)
        scene.crash()
    scene.api.start()
    scene.client.check()


def kill_replica(scene: Scene, moments: random.Random) -> None:
    """Kill a replica (`kill -9`): at most the requests in progress on it are lost, and it is replaced."""
    victim = moments.choice(scene.replicas())
    with scene.scoring() as callers:
        random_moment(moments, 0.5)
        victim.kill()
        eventually(lambda: len(_others(scene, victim)) == 2, what="the next replica")
        random_moment(moments, 0.5)
    assert len(callers.wrong) <= CALLERS, callers.wrong
    assert "SIGKILL" in scene.log()


def kill_process_group(scene: Scene, moments: random.Random) -> None:
    """Kill a whole process group of the service (`kill -9`), or all of them with the service: the rest continues, and
    what was killed is replaced.
    """
    random_moment(moments, 0.5)
    # The service is in the group of this process.
    groups = sorted({os.getpgid(one.pid) for one in scene.replicas()} - {os.getpgid(0)})
    with_service = moments.random() < 0.5
    with scene.working(), scene.scoring():
        random_moment(moments, 1.0)
        for group in groups if with_service else [moments.choice(groups)]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if with_service:
            scene.crash()
    if with_service:
        scene.api.start()
    scene.client.check()


def kill_replica_during_update(scene: Scene, moments: random.Random) -> None:
    """Kill a replica (`kill -9`), old or new, during an update of its service: the update still succeeds, and at most
    the requests in progress on the replica are lost.
    """
    with scene.scoring() as callers, _updated(scene) as accepted:
        victims = eventually(lambda: _of_service(scene), what="a replica")
        random_moment(moments, 1.0)
        victim = moments.choice([process for process in victims if process.is_running()] or _of_service(scene))
        with contextlib.suppress(psutil.NoSuchProcess):  # it was retired in the meantime
            victim.kill()
        assert scene.api.operation(accepted)["state"] == "Succeeded"
        _assert_says(scene, "other")
    assert len(callers.wrong) <= CALLERS, callers.wrong


def kill_service_during_update(scene: Scene, moments: random.Random) -> None:
    """Kill the service (`kill -9`) during an update: the next service continues the update, which succeeds."""
    with _updated(scene) as accepted:
        random_moment(moments, 1.0)
        scene.crash()
        scene.api.start()
        operation = "/operations/" + accepted.headers["Operation-Location"].rpartition("/")[2]
        ended = eventually(lambda: _if_ended(scene.api.get(operation)), 60, "the end of the update")
        assert ended["state"] == "Succeeded", ended
        # If the update had ended before the crash, the port may not be open yet.
        eventually(scene.answers, what="an answer")
        _assert_says(scene, "other")


def kill_build(scene: Scene, moments: random.Random) -> None:
    """Kill the build process of an image (`kill -9`): its operation ends `Failed` with a reason; the next succeeds."""
    with scene.scoring() as callers:
        accepted = _endless_build(scene)
        process = eventually(lambda: _of_build(scene), what="the build")
        random_moment(moments, 0.5)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        ended = scene.api.operation(accepted)
        assert (ended["state"], bool(ended["error"]["message"])) == ("Failed", True), ended
        scene.api.image(scene.driver("after", "def run(body):\n    return 1\n"))
    assert callers.wrong == [], callers.wrong


def kill_service_while_it_builds(scene: Scene, moments: random.Random) -> None:
    """Kill the service (`kill -9`) during a build: the next service ends the rest of the build and restarts it, and it
    can be cancelled.
    """
    accepted = _endless_build(scene)
    eventually(lambda: _of_build(scene), what="the build")
    random_moment(moments, 0.5)
    scene.api.kill()
    scene.api.start()
    eventually(lambda: _of_build(scene), what="its going on")
    location = scene.api.base_url + "/operations/" + accepted.headers["Operation-Location"].rpartition("/")[2]
    assert scene.api.request("GET", location).json()["state"] == "Running"
    assert scene.api.request("POST", location + "/cancel").json()["state"] == "Cancelled"
    eventually(lambda: not _of_build(scene), what="its end")


def kill_service_each_time_it_builds(scene: Scene, moments: random.Random) -> None:
    """Kill the service (`kill -9`) every time it builds an image: the build is given up with a reason, and leaves
    neither processes nor folders.
    """
    accepted = _endless_build(scene)
    for _ in range(MAX_ATTEMPTS):
        eventually(lambda: _of_build(scene), what="the build")
        random_moment(moments, 0.5)
        scene.api.kill()
        scene.api.start()
    operation = "/operations/" + accepted.headers["Operation-Location"].rpartition("/")[2]
    ended = eventually(lambda: _if_ended(scene.api.get(operation)), 60, "the end of the build")
    assert (ended["state"], ended["error"]["code"]) == ("Failed", "Interrupted"), ended
    eventually(lambda: not _remains(scene), what="the end of what it has left behind")


def stop_replica(scene: Scene, moments: random.Random) -> None:
    """Stop a replica (SIGSTOP): the other one answers, and the unresponsive one is replaced in a bounded time."""
    victim = moments.choice(scene.replicas())
    with scene.scoring() as callers:
        random_moment(moments, 0.5)
        victim.send_signal(signal.SIGSTOP)
        eventually(lambda: len(_others(scene, victim)) == 2, HANG_SECONDS + 90, "the next replica")
        random_moment(moments, 0.5)
    assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE
    assert len(callers.wrong) <= CALLERS, callers.wrong
    assert "did not respond" in scene.log()


def stop_service(scene: Scene, moments: random.Random) -> None:
    """Stop the service (SIGSTOP) for longer than a replica may be silent: scoring continues at the services' own ports,
    and afterwards everything is as before; no replica is considered hung.
    """
    before = {process.pid for process in scene.replicas()}
    with scene.scoring(through="port") as callers:
        os.kill(scene.api.process.pid, signal.SIGSTOP)
        try:
            answered = callers.right
            random_moment(moments, 0.1)
            with socket.create_connection(address(scene.api.base_url)) as waits:
                # Longer than HANG_SECONDS: this is the condition under test.
                waits.settimeout(HANG_SECONDS + 1)
                waits.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
                with pytest.raises(TimeoutError):
                    waits.recv(1)
            assert callers.right > answered
        finally:
            os.kill(scene.api.process.pid, signal.SIGCONT)
        scene.api.get("/services")
        random_moment(moments, 1.0)
    assert callers.wrong == [], callers.wrong
    assert {process.pid for process in scene.replicas()} == before


def port_taken(scene: Scene, moments: random.Random) -> None:
    """Take a service's port while nothing runs: the error says so, and the service returns once it is free."""
    host, port = address(scene.steady["scoringUri"])
    scene.crash()
    # A process that ends disappears a moment before its sockets do.
    with eventually(lambda: _listener(host, port), what="the end of the old socket"):
        scene.api.start()
        url = f"/services/{scene.steady['id']}"
        # An earlier report that replicas keep ending may still be shown.
        error = eventually(lambda: trouble(scene.api, url, "PortTaken"), what="the report")
        assert str(port) in error["message"]
        random_moment(moments, 0.5)


def kill_everything(scene: Scene, moments: random.Random) -> None:
    """Kill the service, its replicas and their children together (`kill -9`): the next one resumes from the disk."""
    with scene.working(), scene.scoring():
        random_moment(moments, 1.5)
        for process in processes_of(scene.api.home):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        scene.crash()
    scene.api.start()
    scene.client.check()


def stop_and_start(scene: Scene, moments: random.Random) -> None:
    """Stop the service in an orderly way under load: no process is left, and the next one returns with everything."""
    with scene.working(), scene.scoring():
        random_moment(moments, 1.0)
        assert local.stop(scene.api.home) is True
        assert processes_of(scene.api.home) == []
        scene.api.process.wait(10)
    scene.api.start()
    scene.client.check()


def _others(scene: Scene, victim: psutil.Process) -> list[psutil.Process]:
    return [process for process in scene.replicas() if process.pid != victim.pid]


@contextlib.contextmanager
def _updated(scene: Scene) -> Iterator[requests.Response]:
    """Yield an update of the steady service in progress; roll it back afterwards."""
    url = f"/services/{scene.steady['id']}"
    other = scene.api.image(scene.driver("other", DRIVER.format(says="other")))
    try:
        yield scene.api.request("PUT", url, json={"imageId": other["id"]})
    finally:
        back = scene.api.operation(scene.api.request("PUT", url, json={"imageId": scene.image["id"]}))
        assert back["state"] == "Succeeded", back


def _assert_says(scene: Scene, says: str) -> None:
    answer = scene.api.score(scene.steady, "1")
    assert (answer.status_code, answer.json().get("says")) == (200, says), answer.text


def _of_service(scene: Scene) -> list[psutil.Process]:
    """Return the replicas of the steady service, whatever their image."""
    found = scene.api.get(f"/services/{scene.steady['id']}")
    deployed = scene.api.get("/deployments", serviceId=found["id"])[:2]
    return [process for one in deployed for process in replicas(scene.api, {"image": {"id": one["imageId"]}})]


def _if_ended(operation: Any) -> Any:
    return operation if operation["state"] not in {"NotStarted", "Running"} else None


def _endless_build(scene: Scene) -> requests.Response:
    package = endless_package(scene.folder / "endless", "build-of", str(scene.api.home))
    wanted = {"pip.txt": f"./packages/1/{package.name}\n"}
    folder = scene.driver("needs-endless", "def run(body):\n    return 1\n", **wanted)
    properties = {"pipRequirements": (folder / "pip.txt").as_uri()}
    manifest = scene.api.manifest(folder, packages=[package], properties=properties)
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    answer = scene.api.request("POST", "/images", json=request)
    assert answer.status_code == 202, answer.text
    return answer


def _remains(scene: Scene) -> list[object]:
    """Return the processes and the incomplete folders of the build that never ends."""
    environments = (scene.api.home / "environments").iterdir()
    folders = [path for path in environments if path.is_dir() and not (path / "complete").exists()]
    processes = [one for one in processes_of(scene.api.home) if "build-of" in command_of(one)]
    return [*processes, *folders, *(scene.api.home / "images").glob("*.partial")]


def _of_build(scene: Scene) -> psutil.Process | None:
    """Return the process of the build that never ends, if it runs."""
    for child in scene.api.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "build-of" in child.cmdline():
                return child
    return None


def _listener(host: str, port: int) -> socket.socket | None:
    try:
        return socket.create_server((host, port))
    except OSError:
        return None
