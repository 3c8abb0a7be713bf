"""What a caller sees: keys, limits, errors, health."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from tests.support.waiting import eventually

ECHO = "def run(body):\n    return body\n"
# waits for the file that the body names
GATED = """
import pathlib, time
def run(body):
    while not pathlib.Path(body).exists():
        time.sleep(0.01)
    return "done"
"""


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def check_error(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    assert (response.status_code, answer["statusCode"], answer["code"]) == (status, status, code), answer
    assert answer["requestId"] == response.headers["x-ms-request-id"]
    return answer


def test_keys(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo", name="iris", keys=[digest("first"), digest("second")]).ready()
    for key in ("first", "second"):
        assert replica.score("1", headers={"Authorization": f"Bearer {key}"}).json() == 1
    assert replica.score("1", headers={"Authorization": "bearer  first "}).json() == 1
    for headers in (
        {},
        {"Authorization": "Bearer third"},
        {"Authorization": "Basic first"},
        {"Authorization": "first"},
    ):
        response = replica.score("1", headers=headers)
        check_error(response, 401, "Unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    check_error(requests.get(f"{replica.url}/swagger.json", timeout=10), 401, "Unauthorized")
    assert requests.get(replica.url, timeout=10).json()["status"] == "healthy"

    replica.send({"type": "keys", "digests": [digest("third")]})
    assert replica.report("keys") == {"type": "keys", "count": 1}
    assert replica.score("1", headers={"Authorization": "Bearer third"}).status_code == 200
    assert replica.score("1", headers={"Authorization": "Bearer first"}).status_code == 401


def test_paths_and_methods(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "iris_tutorial", name="iris").ready()
    url, session = replica.url, replica.session
    example = session.get(f"{url}/api/v1/service/iris/swagger.json").json()["definitions"]["ServiceInput"]["example"]
    assert session.post(f"{url}/api/v1/service/iris/score", json=example).json() == ["setosa"]
    assert session.head(f"{url}/swagger.json").status_code == 200
    check_error(session.post(f"{url}/api/v1/service/other/score", json=example), 404, "NotFound")
    response = session.get(f"{url}/score")
    check_error(response, 405, "MethodNotAllowed")
    assert response.headers["Allow"] == "POST, GET, OPTIONS"
    assert session.post(url).headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"x-ms-request-id": "my-id_1"}, "my-id_1"),
        ({"x-ms-client-request-id": "theirs"}, "theirs"),
        ({"x-ms-request-id": "mine", "x-ms-client-request-id": "theirs"}, "mine"),
        ({"x-ms-request-id": "a b"}, None),
        ({"x-ms-request-id": "x" * 129}, None),
        ({}, None),
    ],
)
def test_request_ids(drivers: Path, spawn: Callable[..., Any], headers: dict[str, str], kept: str | None) -> None:
    replica = spawn(drivers / "echo").ready()
    first, second = (replica.score("1", headers=headers).headers["x-ms-request-id"] for _ in range(2))
    if kept:
        assert first == second == kept
    else:
        assert first != second
        assert len(first) == 36


def test_too_large_bodies(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo", maxBodyBytes=1000).ready()
    body = b"1" * 100_000_000
    process = psutil.Process(replica.process.pid)
    before = process.memory_info().rss
    for _ in range(2):
        check_error(replica.score(body), 413, "BodyTooLarge")
    chunks = (body[:65536] for _ in range(1000))
    check_error(replica.score(chunks), 413, "BodyTooLarge")
    # a client that announces that it will close the connection
    check_error(
        requests.post(f"{replica.url}/score", body, headers={"Connection": "close"}, timeout=30), 413, "BodyTooLarge"
    )
    assert process.memory_info().rss - before < 20_000_000
    assert replica.score(b"1" * 1000).status_code == 200
    check_error(replica.score(b"1" * 1001), 413, "BodyTooLarge")
    assert replica.score(iter([b"1"] * 1000)).status_code == 200


def test_a_large_body_is_refused_before_it_is_sent(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo", maxBodyBytes=1000).ready()
    with socket.create_connection(("127.0.0.1", urlsplit(replica.url).port)) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000000\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 413
        assert json.loads(response.read())["code"] == "BodyTooLarge"


def test_limit_of_calls(folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path) -> None:
    replica = spawn(folder(GATED), concurrency=3).ready()
    gate = tmp_path / "gate"
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(requests.post, f"{replica.url}/score", str(gate), timeout=30) for _ in range(3)]
        eventually(lambda: requests.get(replica.url, timeout=10).json()["calls"] == 3)
        response = replica.score(b"x" * 200_000)
        check_error(response, 503, "TooManyRequests")
        assert response.headers["Retry-After"] == "1"
        stats = replica.report("stats")
        while stats["busy"] + stats["waiting"] < 3 or not stats["rejected"]:
            stats = replica.report("stats")
        assert 0 < stats["occupied"] <= 3
        assert stats | {"busySeconds": 0, "latency": {}, "occupied": 0} == {
            "type": "stats", "requests": 3, "failures": 0, "rejected": 1, "busy": 1, "waiting": 2, "limit": 3,
            "busySeconds": 0, "latency": {}, "latencySeconds": 0, "occupied": 0,
        }  # fmt: skip
        gate.touch()
        assert [call.result().json() for call in calls] == ["done"] * 3
    while stats["busy"] + stats["waiting"]:
        stats = replica.report("stats")
    assert stats["busySeconds"] > 0
    while sum(stats["latency"].values()) < 3:  # the refused request is not among them
        stats = replica.report("stats")
    assert stats["latencySeconds"] > 0
    assert replica.score(str(gate)).status_code == 200


def test_slow_run(folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path) -> None:
    replica = spawn(folder(GATED), concurrency=1, requestTimeoutSeconds=0.3).ready()
    gate = tmp_path / "gate"
    assert check_error(replica.score(str(gate)), 504, "Timeout")["message"].endswith("within 0.3 seconds")
    # its place is taken until run() returns
    check_error(replica.score(str(gate)), 503, "TooManyRequests")
    gate.touch()
    eventually(lambda: replica.score(str(gate)).status_code == 200)


def test_a_body_that_never_comes(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo", concurrency=1, requestTimeoutSeconds=3).ready()
    with socket.create_connection(("127.0.0.1", urlsplit(replica.url).port)) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nonly this")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 408
        assert replica.score("1").status_code == 200


def test_callers_that_hang_up(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo", concurrency=1).ready()
    with socket.create_connection(("127.0.0.1", urlsplit(replica.url).port)) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nonly this")
        assert requests.get(replica.url, timeout=10).json()["calls"] == 0
        assert replica.score("1").status_code == 200  # the only place is not taken
    eventually(lambda: '"code":"ClientDisconnected"' in replica.log)


def test_health_while_the_driver_works(folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path) -> None:
    """The driver computes until health checks have been answered."""
    source = "import os\ndef run(body):\n    while not os.path.exists(body):\n        sum(range(1000))\n    return 1\n"
    replica = spawn(folder(source)).ready()
    gate = tmp_path / "gate"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(requests.post, f"{replica.url}/score", str(gate), timeout=30)
        with requests.Session() as session:
            answered = 0
            while answered < 20 and not call.done():
                health = session.get(replica.url, timeout=10).json()
                assert health["status"] == "healthy"
                answered += health["calls"] == 1
        gate.touch()
        assert call.result().json() == 1
    assert answered == 20


def test_text_that_is_not_utf8(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo").ready()
    answer = check_error(replica.score(b"ab\xff"), 400, "BadInput")
    assert answer["message"] == "the body is not UTF-8 text: invalid start byte at byte 2"


def test_the_traceback_is_in_the_log_only(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "crash_in_run").ready()
    answer = check_error(replica.score("", headers={"x-ms-request-id": "find-me"}), 500, "DriverError")
    assert "Traceback" not in json.dumps(answer)
    eventually(lambda: '"code":"DriverError","message":"ZeroDivisionError: division by zero"' in replica.log)
    assert "request find-me: run() failed" in replica.log
    assert 'score.py", line' in replica.log
    assert "mlmgmt_nb/scoring" not in replica.log.partition("run() failed")[2], "frames that are not the user's"


def test_a_line_for_each_request(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "echo").ready()
    replica.score("[1, 2]", headers={"x-ms-request-id": "first"})
    requests.get(replica.url, timeout=10)
    replica.session.get(f"{replica.url}/nowhere")
    lines = eventually(
        lambda: found if len(found := [json.loads(n) for n in replica.log.splitlines() if n[0] == "{"]) == 2 else None
    )
    fixed = {key: value for key, value in lines[0].items() if key not in ("time", "ms")}
    assert fixed == {
        "request": "first", "method": "POST", "path": "/score", "status": 200, "bytesIn": 6, "bytesOut": 6,
    }  # fmt: skip
    assert lines[0]["time"].endswith("Z")
    assert 0 < lines[0]["ms"] < 10_000
    assert (lines[1]["status"], lines[1]["code"]) == (404, "NotFound")


def test_printing_a_lot(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    source = "def run(body):\n    for _ in range(1000):\n        print('x' * 100_000)\n    return 'printed'\n"
    replica = spawn(folder(source)).ready()
    assert replica.score("").json() == "printed"
    assert replica.log_path.stat().st_size > 100_000_000
    assert requests.get(replica.url, timeout=10).status_code == 200


def connect(replica: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", urlsplit(replica.url).port))
    connection.settimeout(30)
    return connection


def test_a_caller_who_hangs_up_while_waiting(
    folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path
) -> None:
    """Its place is free at once, and `run` is never called for it."""
    source = GATED.replace("    return", "    print('ran for', body)\n    return")
    replica = spawn(folder(source), concurrency=2).ready()
    gate, other = tmp_path / "gate", tmp_path / "other"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(requests.post, f"{replica.url}/score", str(gate), timeout=30)
        eventually(lambda: requests.get(replica.url, timeout=10).json()["calls"] == 1)
        with connect(replica) as connection:
            body = str(other).encode()
            connection.sendall(
                b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            eventually(lambda: requests.get(replica.url, timeout=10).json()["calls"] == 2)
            check_error(replica.score("x"), 503, "TooManyRequests")
        eventually(lambda: requests.get(replica.url, timeout=10).json()["calls"] == 1)
        other.touch()
        gate.touch()
        assert first.result().json() == "done"
    assert replica.score(str(gate)).json() == "done"
    lines = eventually(lambda: found if (found := replica.log).count('"status":200') == 2 else None)
    assert '"status":499' in lines
    assert '"code":"ClientDisconnected"' in lines
    assert "ran for" in lines
    assert f"ran for {other}" not in lines


def test_slow_callers(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    """One that never ends the head of its request, one with a head without end, and one that takes no answer."""
    source = "def run(body):\n    return 'x' * 50_000_000\n"
    replica = spawn(folder(source), clientTimeoutSeconds=2).ready()
    with connect(replica) as slow, connect(replica) as endless, connect(replica) as greedy:
        greedy.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        slow.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nX-A")
        endless.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                endless.sendall(b"X-More: 1\r\n" * 1000)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert slow.recv(1000) == b""
        with contextlib.suppress(ConnectionError):
            assert endless.recv(1000).startswith(b"HTTP/1.1 431 ")
        eventually(
            lambda: "slow callers: an answer was not received within 2 seconds: 1 connection(s) closed" in replica.log
        )
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := greedy.recv(1_000_000):
                received += len(chunk)
        assert received < 50_000_000
    assert "slow callers: the head of a request did not arrive within 2 seconds: 1 connection(s)" in replica.log
    # a caller that receives its answer in time, and sends again on the same connection after a pause
    assert len(replica.score("").content) == 50_000_002
    process = psutil.Process(replica.process.pid)
    eventually(lambda: len(process.net_connections()) == 2)  # the listening socket, and this connection
    assert len(replica.score("").content) == 50_000_002


def test_descriptions(drivers: Path, spawn: Callable[..., Any]) -> None:
    from openapi_spec_validator import validate

    replica = spawn(drivers / "iris_tutorial", name="iris").ready()
    url = f"{replica.url}/api/v1/service/iris/swagger.json"
    old = replica.session.get(url).json()
    assert old["swagger"] == "2.0"
    assert replica.session.get(url, params={"version": "2.0"}).json() == old
    new = replica.session.get(url, params={"version": "3"}).json()
    validate(new)
    assert new["components"]["schemas"]["ServiceInput"] == old["definitions"]["ServiceInput"]
    operation = new["paths"]["/api/v1/service/iris/score"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ServiceInput")
    answer = check_error(replica.session.get(url, params={"version": "4"}), 400, "BadInput")
    assert answer["message"] == "version: '4' does not exist. Use 2 for Swagger 2.0 or 3 for OpenAPI 3.0"


HEAD = b"POST /score HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("parts", "answers", "closes"),
    [
        ([HEAD + b"Content-Length: 3\r\n\r\n[1]"], [b"[1]"], False),
        ([HEAD + b"Content-Length: 3\r\n\r\n", b"[", b"1]"], [b"[1]"], False),
        ([(HEAD + b"Content-Length: 3\r\n\r\n[%d]") % number for number in range(3)], [b"[0]", b"[1]", b"[2]"], False),
        ([b"".join((HEAD + b"Content-Length: 3\r\n\r\n[%d]") % n for n in range(3))], [b"[0]", b"[1]", b"[2]"], False),
        ([HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\n[1]"], [b"[1]"], True),
        ([b"POST /score HTTP/1.0\r\nContent-Length: 3\r\n\r\n[1]"], [b"[1]"], True),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n"], [b"[1]"], False),
        ([HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", b"[1]"], [b"100 Continue", b"[1]"], False),
    ],
    ids=["whole", "in parts", "in a row", "pipelined", "last", "HTTP 1.0", "chunked", "asks first"],
)
def test_ways_to_arrive(
    drivers: Path, spawn: Callable[..., Any], parts: list[bytes], answers: list[bytes], closes: bool
) -> None:
    replica = spawn(drivers / "echo").ready()
    with socket.create_connection(("127.0.0.1", urlsplit(replica.url).port or 0), timeout=30) as caller:
        for part in parts:
            caller.sendall(part)
            time.sleep(0.05)  # so that the parts arrive by themselves
        received = b""
        while received.count(b"HTTP/1.1 ") < len(answers) or not received.endswith(answers[-1]):
            data = caller.recv(65536)
            assert data, received
            received += data
        assert [received.index(answer) for answer in answers] == sorted(received.index(answer) for answer in answers)
        assert (b"connection: close" in received) == closes
        if closes:
            assert caller.recv(1) == b""


def read_answer(answers: BinaryIO) -> tuple[int, bytes]:
    status = int(answers.readline().split()[1])
    headers = http.client.parse_headers(answers)
    return status, answers.read(int(headers["Content-Length"]))


def test_heads_that_came_before(drivers: Path, spawn: Callable[..., Any]) -> None:
    """They are not read again; what a request means is the same."""
    replica = spawn(drivers / "echo", keys=[digest("first"), digest("second")]).ready()
    head = HEAD + b"Authorization: Bearer first\r\nContent-Length: 3\r\n\r\n"
    with connect(replica) as caller, caller.makefile("rb") as answers:

        def send(*parts: bytes) -> None:
            for part in parts:
                caller.sendall(part)
                time.sleep(0.05)  # so that the parts arrive by themselves

        def receive() -> tuple[int, bytes]:
            return read_answer(answers)

        for number in range(3):
            send(head + b"[%d]" % number)
            assert receive() == (200, b"[%d]" % number)
        send(head, b"[3", b"]")
        assert receive() == (200, b"[3]")
        send(head + b"[4", b"]" + head + b"[5]" + head + b"[6]", head + b"[7]")
        assert [receive()[1] for _ in range(4)] == [b"[4]", b"[5]", b"[6]", b"[7]"]
        send(head.replace(b"first", b"wrong") + b"[8]", head + b"[9]")
        assert [receive()[0] for _ in range(2)] == [401, 200]
        send(head + b"[1]\r\n", b"\r\n", head + b"[2]")  # line ends that some clients send after a body
        assert [receive()[1] for _ in range(2)] == [b"[1]", b"[2]"]
        # the body of a request that is answered before it has come: it looks like a request, but is not
        body = head + b"[0]"
        send(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body), body, head + b"[1]")
        assert b"healthy" in receive()[1]
        assert receive() == (200, b"[1]")
        replica.send({"type": "keys", "digests": [digest("second")]})
        assert replica.report("keys")["count"] == 1
        send(head + b"[2]")
        assert receive()[0] == 401
        send(head.replace(b"first", b"second") + b"[3]")
        assert receive() == (200, b"[3]")
