"""Faults of resources: memory, disk, open files, connections and logs that run out."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from mlmgmt_nb.service.compute.cgroups import find_groups
from tests.conftest import ServiceProcess
from tests.faults.scene import (
    Scene,
    address,
    command_of,
    processes_of,
    random_moment,
)
from tests.support.waiting import eventually

__all__ = [
    "flood_the_log",
    "half_open",
    "idle_connections",
    "no_descriptors",
    "out_of_memory",
    "start_on_a_full_disk",
]

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
    assert callers.wrong == [], callers.wrong
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
    assert callers.wrong == [], callers.wrong
    assert not [child for child in scene.api.children() if "time.monotonic() + 120" in " ".join(command_of(child))]


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
    assert callers.wrong == [], callers.wrong


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
    assert callers.wrong == [], callers.wrong


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
    assert callers.wrong == [], callers.wrong


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


def _sent(stack: contextlib.ExitStack, url: str, data: bytes) -> socket.socket:
    """Return a connection on which something has been sent."""
    connection = stack.enter_context(socket.create_connection(address(url), timeout=30))
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
