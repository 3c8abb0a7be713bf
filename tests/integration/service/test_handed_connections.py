"""The front door hands connections over to replicas. Callers see no difference, whatever they send on a connection."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest

from tests.conftest import ServiceProcess
from tests.integration.service.drivers import ECHO, SAYS, at_front_door, replicas, under_load
from tests.support.waiting import eventually

CHILDREN = """
import os, socket, subprocess, sys
LIST = '''
import os, socket
found = []
for number in map(int, os.listdir("/proc/self/fd")):
    try:
        with socket.socket(fileno=os.dup(number)) as opened:
            if opened.family != socket.AF_UNIX or opened.type == socket.SOCK_SEQPACKET:
                found.append(str(opened))
    except OSError:
        pass
'''
def init():
    pass
def run(body):
    spawned = subprocess.check_output([sys.executable, "-c", LIST + "print(found)"], close_fds=False, text=True)
    reader, writer = os.pipe()
    if not os.fork():
        names = {}
        exec(LIST, names)
        os.write(writer, str(names["found"]).encode())
        os._exit(0)
    forked = os.read(reader, 9999).decode()
    os.wait()
    os.close(reader)
    os.close(writer)
    return [forked, spawned.strip()]
"""


class Behind(NamedTuple):
    """A service behind the front door."""

    api: ServiceProcess
    service: Any
    key: str

    def request(self, body: str, *headers: str, name: str = "") -> bytes:
        path = f"/api/v1/service/{name or self.service['name']}/score"
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.key}", *headers]
        if not any("chunked" in header for header in headers):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", body]).encode()

    def has(self, local_port: int) -> bool:
        """Return whether a replica of it has the connection with this port of the caller."""
        ends = (urlsplit(self.api.base_url).port, local_port)
        return any(
            ends == (c.laddr.port, c.raddr.port)
            for replica in replicas(self.api, self.service)
            for c in _connections(replica)
            if c.raddr
        )


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return list(process.net_connections("tcp"))
    except psutil.Error:  # it has just ended
        return []


class Caller:
    """A connection to the front door."""

    def __init__(self, api: ServiceProcess) -> None:
        parts = urlsplit(api.base_url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)
        self.port = self.socket.getsockname()[1]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answers(self, count: int) -> list[tuple[int, bytes]]:
        """Return status and body of the next responses."""
        return [self._answer() for _ in range(count)]

    def _answer(self) -> tuple[int, bytes]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = self.socket.recv(1)
            if not part:
                raise ConnectionResetError(f"the connection ended after {head!r}")
            head += part
        lines = head.decode().lower().split("\r\n")
        length = int(next(line for line in lines if line.startswith("content-length:")).partition(":")[2])
        body = b""
        while len(body) < length:
            body += self.socket.recv(length - len(body))
        return int(lines[0].split()[1]), body


@pytest.fixture
def behind(api: ServiceProcess, write_driver: Callable[..., Path], name: str) -> Callable[..., Behind]:
    """Start a service."""

    def start(driver: str, suffix: str = "", **settings: Any) -> Behind:
        image = api.image(write_driver(driver, suffix or "driver"))
        service = at_front_door(api, api.service(image["id"], name + suffix, **settings))
        return Behind(api, service, api.get(f"/services/{service['id']}/keys")["primaryKey"])

    return start


@pytest.fixture
def caller(api: ServiceProcess) -> Iterator[Caller]:
    made = Caller(api)
    with made.socket:
        yield made


def hand_over(caller: Caller, behind: Behind) -> None:
    """Score on a connection until a replica has it."""

    def is_handed() -> bool:
        caller.send(behind.request("0"))
        assert caller.answers(1)[0][0] == 200
        return behind.has(caller.port)

    eventually(is_handed, what="the hand-over")


def pieces(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def test_one_connection_for_two_services_and_the_api(behind: Callable[..., Behind], caller: Caller) -> None:
    one, two = behind(ECHO), behind(ECHO, "-2")
    list_services = f"GET {urlsplit(one.api.base_url).path}/services?api-version=2017-09-01-preview HTTP/1.1\r\n"
    get = f"{list_services}Host: 127.0.0.1\r\nAuthorization: Bearer {one.api.token}\r\n\r\n".encode()
    for _ in range(2):
        for service in (one, two):
            hand_over(caller, service)
        caller.send(get)
        status, body = caller.answers(1)[0]
        assert (status, {found["name"] for found in json.loads(body)["value"]} >= {one.service["name"]}) == (200, True)
    chunked = one.request("2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    elsewhere = one.request("1", name="nobody")
    foreign = one.request("1", "Origin: http://evil.example")
    mixed = [
        one.request('"a"'),
        two.request('"b"'),
        chunked,
        get,
        one.request('"c"'),
        elsewhere,
        foreign,
        two.request("4"),
    ]
    wrong_key = one._replace(key="wrong").request("1")
    chosen = random.Random(17)
    for _ in range(6):
        data = b"".join([*mixed, wrong_key])
        for piece in pieces(data, [chosen.choice((1, 40, 150, 400, 1000)) for _ in range(chosen.choice((0, 3, 9)))]):
            caller.send(piece)
        answers = caller.answers(len(mixed) + 1)
        assert [status for status, _ in answers] == [200] * 5 + [404, 403, 200, 401]
        assert [answers[n][1] for n in (0, 1, 2, 4, 7)] == [b'"a"', b'"b"', b"[1]", b'"c"', b"4"]
    caller.send(one.request("x" * 300_000) + two.request("5"))
    assert [len(body) for _, body in caller.answers(2)] == [300_002, 1]


def test_an_idle_connection_outlives_updates_and_the_replica(
    behind: Callable[..., Behind], write_driver: Callable[..., Path], caller: Caller
) -> None:
    service = behind(SAYS % "one", numReplicas=2)
    image = service.api.image(write_driver(SAYS % "two", "second"))
    with under_load(service.api, service.service, keep=True) as wrong:
        for target, says in ((image, "two"), (service.service["image"], "one")):
            hand_over(caller, service)
            changed = service.api.request("PUT", f"/services/{service.service['id']}", json={"imageId": target["id"]})
            assert service.api.operation(changed)["state"] == "Succeeded"
            service = service._replace(service={**service.service, "image": target})
            caller.send(service.request("1"))
            status, body = caller.answers(1)[0]
            assert (status, json.loads(body)["says"]) == (200, says)
    assert wrong == []


def test_a_replica_that_does_not_take_connections_delays_none_for_long(
    behind: Callable[..., Behind], caller: Caller
) -> None:
    service = behind(ECHO)
    hand_over(caller, service)
    stopped = replicas(service.api, service.service)[0]
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        second = Caller(service.api)
        second.send(service.request("2"))
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    with second.socket:
        assert second.answers(1) == [(200, b"2")]
    os.kill(stopped.pid, signal.SIGKILL)
    with pytest.raises(ConnectionError):  # as at its own port
        caller.answers(1)
    third = Caller(service.api)
    with third.socket:
        third.send(service.request("3"))
        assert third.answers(1)[0][0] in {200, 502}
        hand_over(third, service)


def test_children_of_a_driver_have_no_connection(behind: Callable[..., Behind], caller: Caller) -> None:
    service = behind(CHILDREN)
    hand_over(caller, service)
    caller.send(service.request("1"))
    assert caller.answers(1) == [(200, b'["[]","[]"]')]


def test_the_switch_forwards_every_request(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLMGMT_HANDOVER", "0")
    api = start_service()
    service = at_front_door(api, api.service(api.image(write_driver(ECHO))["id"]))
    found = Behind(api, service, api.get(f"/services/{service['id']}/keys")["primaryKey"])
    parts = urlsplit(api.base_url)
    client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    with contextlib.closing(client):
        for _ in range(5):
            client.request("POST", urlsplit(service["scoringUri"]).path, "1", {"authorization": f"Bearer {found.key}"})
            assert client.getresponse().read() == b"1"
            assert not found.has(client.sock.getsockname()[1])
