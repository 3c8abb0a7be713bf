"""The faults: each breaks something at a random moment, and asserts the promise in its docstring."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from mlmgmt_nb import local
from mlmgmt_nb.service.building.builder import MAX_ATTEMPTS
from mlmgmt_nb.service.compute.cgroups import find_groups
from tests.conftest import ServiceProcess, database_arguments, mlmgmt
from tests.faults.scene import CALLERS, DRIVER, HANG_SECONDS, Fault, Scene, command_of, processes_of, random_moment
from tests.integration.service.drivers import replicas, trouble
from tests.support.endless_build import endless_package
from tests.support.waiting import eventually

__all__ = ["FAULTS"]

EATS = "held = []\ndef init():\n    pass\ndef run(body):\n    held.append(b'x' * int(body))\n    return len(held)\n"
FLOODS = (
    "import subprocess, sys\n"
    "def init():\n    pass\n"
    "def run(body):\n"
    "    flood = 'import time\\nend = time.monotonic() + 120\\nwhile time.monotonic() < end: print(chr(120) * 4000)'\n"
    "    for _ in range(4):\n"
    "        subprocess.Popen([sys.executable, '-c', flood])\n"
    "    return 1\n"
)
_MODEL = {"name": "late", "url": "file:///nowhere/late.pkl", "mimeType": "application/json"}
MOST_LOG_BYTES = 21 * 2**20
IDLE_CONNECTIONS = 1000
HALF_OPEN_CONNECTIONS = 50


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
    assert callers.wrong == []


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


def stop_replica(scene: Scene, moments: random.Random) -> None:
    """Stop a replica (SIGSTOP): the other one answers, and the unresponsive one is replaced in a bounded time."""
    victim = moments.choice(scene.replicas())
    with scene.scoring() as callers:
        random_moment(moments, 0.5)
        victim.send_signal(signal.SIGSTOP)
        eventually(lambda: len(_others(scene, victim)) == 2, HANG_SECONDS + 30, "the next replica")
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
            with socket.create_connection(_address(scene.api.base_url)) as waits:
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
    assert callers.wrong == []
    assert {process.pid for process in scene.replicas()} == before


def port_taken(scene: Scene, moments: random.Random) -> None:
    """Take a service's port while nothing runs: the error says so, and the service returns once it is free."""
    host, port = _address(scene.steady["scoringUri"])
    scene.crash()
    # A process that ends disappears a moment before its sockets do.
    with eventually(lambda: _listener(host, port), what="the end of the old socket"):
        scene.api.start()
        url = f"/services/{scene.steady['id']}"
        # An earlier report that replicas keep ending may still be shown.
        error = eventually(lambda: trouble(scene.api, url, "PortTaken"), what="the report")
        assert str(port) in error["message"]
        random_moment(moments, 0.5)


def out_of_memory(scene: Scene, moments: random.Random) -> None:
    """Exceed the reserved memory in a replica: only this replica is ended, with a reason, and it is replaced."""
    groups = find_groups()
    groups.close()
    image = scene.api.image(scene.driver("eats", EATS))
    greedy = scene.api.service(image["id"], "greedy", containerResourceReservation={"memory": "160Mi"})
    url = f"/services/{greedy['id']}"
    if not groups.limits_memory:  # then the log says so, and memory is only reserved
        assert "not enforced" in scene.api.log(url + "/logs")
        assert scene.api.request("DELETE", url).status_code == 200
        return
    with scene.scoring() as callers:
        random_moment(moments, 0.3)
        with pytest.raises(requests.RequestException):
            scene.api.score(greedy, str(2**29))
        eventually(lambda: "exceeded its reserved memory" in scene.api.log(url + "/logs"), what="the reason")
        assert scene.api.score(greedy, "1").json() == 1
    assert callers.wrong == []
    assert scene.api.request("DELETE", url).status_code == 200


def flood_the_log(scene: Scene, moments: random.Random) -> None:
    """Start processes in a driver that print without end: its log stays bounded, other services and the API respond,
    and deleting the service ends all of them.
    """
    image = scene.api.image(scene.driver("floods", FLOODS))
    noisy = scene.api.service(image["id"], "noisy")
    url, folder = f"/services/{noisy['id']}", scene.api.home / "logs" / "services" / noisy["id"]
    with scene.scoring() as callers:
        assert scene.api.score(noisy, "1").status_code == 200
        # It has rotated its segments more than once.
        eventually(lambda: min((int(f.stem) for f in folder.iterdir()), default=0) > 0, 60, "the log's turning over")
        kept = sum(_size(path) for path in folder.iterdir())
        assert kept < MOST_LOG_BYTES
        assert scene.api.score(noisy, "1").status_code == 200
        random_moment(moments, 0.3)
        assert scene.api.request("DELETE", url).status_code == 200
        eventually(lambda: not folder.exists(), 60, "the end of it")
    assert callers.wrong == []
    assert not [child for child in scene.api.children() if "time.monotonic() + 120" in " ".join(child.cmdline())]


def half_open(scene: Scene, moments: random.Random) -> None:
    """Stop clients in the middle of a request: all other clients are answered, and these are disconnected."""
    path = urlsplit(scene.steady["scoringUri"]).path.encode()
    head = b"POST " + path + b" HTTP/1.1\r\nhost: localhost\r\n"
    key = scene.keys["primaryKey"].encode()
    started = head + b"authorization: Bearer " + key + b"\r\ncontent-length: 10\r\n\r\n123"
    with scene.scoring() as callers, contextlib.ExitStack() as stack:
        heads = []
        for url in (scene.api.base_url, scene.steady["scoringUri"]):
            heads += [_sent(stack, url, head) for _ in range(HALF_OPEN_CONNECTIONS)]
            bodies = [_sent(stack, url, started) for _ in range(10)]
        random_moment(moments, 0.5)
        eventually(lambda: all(_hung_up(one) for one in heads), 60, "the end of half heads")
        assert bodies
    assert callers.wrong == []


def idle_connections(scene: Scene, moments: random.Random) -> None:
    """Open 1,000 silent connections, at the service's own port and at the API: all other clients are answered."""
    with scene.scoring() as callers, contextlib.ExitStack() as stack:
        for url in (scene.api.base_url, scene.steady["scoringUri"]):
            for _ in range(IDLE_CONNECTIONS):
                _sent(stack, url, b"")
        random_moment(moments, 0.5)
        assert scene.api.get("/services")["value"]
        answered = callers.right
        eventually(lambda: callers.right > answered + 20, what="answers meanwhile")
    assert callers.wrong == []


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


def lose_state_files(scene: Scene, moments: random.Random) -> None:
    """Delete or damage the record and the lock file while the service runs: a second service is refused, and both files
    are restored.
    """
    home = scene.api.home
    lost = moments.sample(["service.json", "service.lock"], moments.randint(1, 2))
    with scene.scoring() as callers:
        for name in lost:
            if moments.random() < 0.5:
                (home / name).write_bytes(moments.randbytes(20))
            else:
                (home / name).unlink()
        assert "already running" in mlmgmt("serve", "--home", home, *database_arguments(home), code=1)
        eventually(lambda: scene.api.described() and (home / "service.lock").exists(), what="the files")
    assert callers.wrong == []


def no_descriptors(scene: Scene, moments: random.Random) -> None:
    """Exhaust the open files of the service for a while: services answer at their ports, and then it continues."""
    process = psutil.Process(scene.api.process.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    with scene.scoring(through="port") as callers, contextlib.ExitStack() as stack:
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + moments.randint(0, 5), hard))
        try:
            for _ in range(20):
                _sent(stack, scene.api.base_url, b"")
            random_moment(moments, 2.0)
            answered = callers.right
            eventually(lambda: callers.right > answered, what="an answer meanwhile")
        finally:
            process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
        stack.close()
        eventually(lambda: scene.api.request("GET", "/services").status_code == 200, what="an answer of the API")
    assert callers.wrong == []


def start_on_a_full_disk(scene: Scene, moments: random.Random) -> None:
    """Kill a service, fill its disk, and start it: its services answer, and it writes once there is room."""
    small = scene.folder / f"small-{moments.getrandbits(32)}"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(small)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        return  # a small disk needs root
    try:
        api = ServiceProcess(small / "home", sqlite=True)
        service = api.service(api.image(scene.driver("full", "def run(body):\n    return 1\n"))["id"], "full")
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        random_moment(moments, 1.0)
        api.kill()
        eventually(lambda: not processes_of(api.home), what="the end of the replicas")
        with (small / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        api.start()
        eventually(lambda: _scores(api, service, key), what="an answer on a full disk")
        assert [one["id"] for one in api.get("/services")["value"]] == [service["id"]]
        (small / "fill").unlink()
        eventually(lambda: api.request("POST", "/models", json=_MODEL).status_code == 200, what="a write")
        api.stop()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def _scores(api: ServiceProcess, service: Any, key: str) -> bool:
    try:
        return api.score(service, "1", key).status_code == 200
    except requests.RequestException:
        return False


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


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _listener(host: str, port: int) -> socket.socket | None:
    try:
        return socket.create_server((host, port))
    except OSError:
        return None


def _sent(stack: contextlib.ExitStack, url: str, data: bytes) -> socket.socket:
    """Return a connection on which something has been sent."""
    connection = stack.enter_context(socket.create_connection(_address(url), timeout=30))
    connection.sendall(data)
    return connection


def _hung_up(connection: socket.socket) -> bool:
    """Return whether the other side has ended a connection, ignoring any response."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def _size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:  # it was rotated in the meantime
        return 0


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_service,
        kill_replica,
        kill_replica_during_update,
        kill_service_during_update,
        kill_build,
        kill_service_while_it_builds,
        kill_service_each_time_it_builds,
        stop_replica,
        stop_service,
        port_taken,
        out_of_memory,
        flood_the_log,
        half_open,
        idle_connections,
        kill_everything,
        stop_and_start,
        lose_state_files,
        no_descriptors,
        start_on_a_full_disk,
    )
}
"""Every fault, by name."""
