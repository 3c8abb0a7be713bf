"""Heads and bodies with more than one meaning, at the API and the front door: refused, and nobody else's answer.

A request that two programs read in two ways can hide another one in its body, whose answer the next caller gets. So a
second caller scores all the while on connections that are used again, and every answer must be its own.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ServiceProcess
from tests.integration.service.drivers import at_front_door
from tests.support.waiting import eventually

SAYS = "def init():\n    pass\n\ndef run(http_body):\n    return 'body ' + http_body\n"


class Door(NamedTuple):
    """A service at the front door."""

    port: int
    path: str
    key: str

    @property
    def paths(self) -> list[str]:
        """Return targets of every kind that the port serves."""
        return [f"{self.path}/score", f"{self.path}/swagger.json", self.path, "/", "/metrics"]


@pytest.fixture(scope="module")
def door(shared_service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Door:
    folder = tmp_path_factory.mktemp("says")
    (folder / "score.py").write_text(SAYS)
    service = at_front_door(shared_service, shared_service.service(shared_service.image(folder)["id"], "framing"))
    parts = urlsplit(service["scoringUri"])
    key = shared_service.get(f"/services/{service['id']}/keys")["primaryKey"]
    return Door(parts.port or 0, parts.path.removesuffix("/score"), key)


def exchange(
    port: int, *parts: bytes, wait: float = 5.0, is_enough: Callable[[bytes], bool] = lambda _: False
) -> bytes:
    """Return the response to these bytes until it is complete, the connection ends, or `wait` seconds have passed."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as client:
        deadline = time.monotonic() + wait
        with contextlib.suppress(OSError):  # the other side closed it
            for part in parts:
                client.sendall(part)
        while (left := deadline - time.monotonic()) > 0 and not is_enough(got):
            client.settimeout(left)
            try:
                data = client.recv(65536)
            except OSError:
                break
            if not data:
                break
            got += data
    return got


ODD_HEADERS = {
    "Connection names Content-Length": "Connection: keep-alive,CONTENT-LENGTH\r\nContent-Length: 3\r\n\r\nabc",
    "the same, in a second Connection": "Connection: x\r\nConnection:content-length\r\nContent-Length: 3\r\n\r\nabc",
    "Connection names Transfer-Encoding": "Connection: transfer-encoding\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Connection names Host": "Connection: close, Host\r\n\r\n",
    "both lengths": "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way round": "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": "Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": "Content-Length: +3\r\n\r\nabc",
    "a negative length": "Content-Length: -3\r\n\r\nabc",
    "no length": "Content-Length: \r\n\r\nabc",
    "a hexadecimal length": "Content-Length: 0x3\r\n\r\nabc",
    "a length beyond 64 bits": "Content-Length: 99999999999999999999999\r\n\r\nabc",
    "a length of 64 bits": "Content-Length: 18446744073709551615\r\n\r\nabc",
    "another coding": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding after chunked": "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "no coding": "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "an empty coding": "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "a quoted coding": 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before the coding": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": "Content-Length : 3\r\n\r\nabc",
    "a folded header": "X-A: a\r\n b\r\n\r\n",
    "a folded coding": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": "X-A: a\nContent-Length: 3\r\n\r\nabc",
    "a bare carriage return": "X-A: a\rContent-Length: 3\r\n\r\nabc",
    "a NUL": "X-A: a\0b\r\n\r\n",
    "a chunk with a bare line feed": "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "an extension with a bare line feed": "Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n",
    "a chunk size with a space": "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    "a chunk size with 0x": "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "a huge chunk size": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk that is longer than its size": "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "a length in a trailer": "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
    "two hosts": "Host: 127.0.0.1\r\n\r\n",
    "two tokens": "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "two origins": "Origin: http://127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n",
    "two content types": "Content-Type: text/plain\r\nContent-Type: application/json\r\n\r\n",
}


@pytest.mark.parametrize("odd", ODD_HEADERS)
def test_odd_heads_and_bodies_are_refused(door: Door, odd: str) -> None:
    for path in door.paths:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n{ODD_HEADERS[odd]}"
        got = exchange(door.port, head.encode("latin-1"))
        # One response, then the connection ends: the rest of the body is not taken for a request.
        assert got.startswith(b"HTTP/1.1 400 "), (path, got)
        assert got.count(b"HTTP/1.1 ") == 1
        assert json.loads(got.partition(b"\r\n\r\n")[2])["code"] in {"BadRequest", "MalformedRequest"}


ODD_LINES = {
    "an absolute target for another host": ("GET http://evil.example{path} HTTP/1.1", 400),
    "an absolute target with a user": ("GET http://u:p@127.0.0.1{path} HTTP/1.1", 400),
    "a fragment": ("GET {path}#x HTTP/1.1", 400),
    "a tab in the target": ("GET {path}\tx HTTP/1.1", 400),
    "bytes in the target": ("GET {path}\xff HTTP/1.1", 400),
    "no version": ("GET {path}", 505),
    "HTTP/2": ("GET {path} HTTP/2.0", 505),
    "HTTP/1.2": ("GET {path} HTTP/1.2", 400),
    "chunks in HTTP/1.0": ("POST {path} HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
    "CONNECT": ("CONNECT 127.0.0.1:80 HTTP/1.1", 400),
    "a method in lower case": ("get {path} HTTP/1.1", 400),
}


@pytest.mark.parametrize("odd", ODD_LINES)
def test_odd_request_lines_are_refused(door: Door, odd: str) -> None:
    line, status = ODD_LINES[odd]
    for path in door.paths:
        head = f"{line.format(path=path)}\r\nHost: 127.0.0.1\r\n\r\n"
        if odd == "no version":
            head = f"{line.format(path=path)}\r\n\r\n"
        assert exchange(door.port, head.encode("latin-1")).startswith(b"HTTP/1.1 %d " % status), path


ODD_HOSTS = [
    "",
    "evil.example/?x=://127.0.0.1",
    "http://127.0.0.1",
    "127.0.0.1@evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1, evil.example",
    "127.0.0.1 evil.example",
    "127.0.0.1:80:80",
    "127.0.0.1:x",
    "[::1",
    "[evil.example]",
    "127.0.0.1\\evil.example",
    "127.0.0.1#",
    "\xe9.example",
]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_a_host_is_a_host_and_a_port(door: Door, host: str) -> None:
    for path in door.paths:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
        assert exchange(door.port, head).startswith(b"HTTP/1.1 400 "), path


@pytest.mark.parametrize("origin", ["http://evil.example/?x=://127.0.0.1", "null", "127.0.0.1", "http://127.0.0.1@x"])
def test_an_origin_is_a_scheme_and_a_host(door: Door, origin: str) -> None:
    head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nOrigin: {origin}\r\n\r\n"
    assert exchange(door.port, head.encode()).startswith(b"HTTP/1.1 403 ")


class TestWhatIsTaken:
    def test_other_ways_to_write_a_request(self, door: Door) -> None:
        length = "Content-Length: 3 \t\r\n\r\nabc"
        chunks = "Transfer-Encoding: CHUNKED\r\n\r\n1;a=b\r\na\r\n002\r\nbc\r\n0;x\r\n\r\n"
        for target in (f"{door.path}/score", f"http://LOCALHOST:{door.port}{door.path}/score"):
            for body in (length, chunks):
                head = (
                    f"POST {target} HTTP/1.1\r\nHost:\tlocalhost:{door.port} \r\nAuthorization: Bearer {door.key}\r\n"
                )
                got = exchange(door.port, f"{head}Connection: Close, X-A\r\nX-A: 1\r\n{body}".encode())
                assert got.startswith(b"HTTP/1.1 200 ")
                assert got.endswith(b'"body abc"')

    def test_trailers_are_no_headers(self, door: Door) -> None:
        chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        for trailer in ("X-A: 1", "Host: evil.example", "Connection: close, host", f"Authorization: Bearer {door.key}"):
            for key, status in ((door.key, 200), ("wrong", 401)):
                head = f"POST {door.path}/score HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
                request = f"{head}Connection: x, close\r\n{chunks}{trailer}\r\n\r\n"
                assert exchange(door.port, request.encode()).startswith(b"HTTP/1.1 %d " % status), trailer

    def test_http_1_0(self, door: Door) -> None:
        head = f"POST {door.path}/score HTTP/1.0\r\nHost: [::1]\r\nAuthorization: Bearer {door.key}\r\n"
        assert exchange(door.port, f"{head}Content-Length: 3\r\n\r\nabc".encode()).endswith(b'"body abc"')


class TestLargeHeads:
    @pytest.mark.parametrize("size", [70_000, 200_000, 4_000_000])
    def test_they_are_refused_before_anyone_signed_in(self, door: Door, size: int) -> None:
        answered = 0
        for path in door.paths:
            line = f"GET {path}".encode()
            for head in (
                b"%b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: %b\r\n\r\n" % (line, b"a" * size),
                b"%b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n" % (line, b"X-A: 1\r\n" * (size // 8)),
                b"%b?%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (line, b"a" * size),
            ):
                # In one piece, in parts, and never complete.
                parts = [head[start : start + 30_000] for start in range(0, len(head), 30_000)]
                for pieces in ([head], parts, [head.rstrip()]):
                    got = exchange(door.port, *pieces)
                    # The end of a connection may overtake the response while the client is still sending.
                    assert not got or got.startswith(b"HTTP/1.1 431 "), (path, got[:100])
                    answered += bool(got)
        assert answered

    @pytest.mark.parametrize("part", ["X-A: 1\r\n", "a", "X-A: "])
    def test_what_comes_with_a_body_is_bounded_too(self, door: Door, part: str) -> None:
        chunked = f"POST {door.path}/score HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for begun in ("0\r\n", "3;", "3;a=", '3;a="'):
            with socket.create_connection(("127.0.0.1", door.port), timeout=30) as client:
                client.sendall(f"{chunked}{begun}".encode())
                sent = 0
                with contextlib.suppress(OSError):
                    while sent < 2**26:
                        sent += client.send(part.encode() * 2**16)
            # Buffers of the system may hold some MiB.
            assert sent < 2**25, begun

    def test_a_head_within_the_limit_is_answered(self, door: Door) -> None:
        head = f"GET {door.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-A: {'a' * 60_000}\r\n\r\n"
        assert exchange(door.port, head.encode()).startswith(b"HTTP/1.1 200 ")

    def test_the_second_request_of_a_connection(self, door: Door) -> None:
        good = f"GET {door.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", door.port), timeout=10) as client:
            client.sendall(good)
            got = b""
            while not got.endswith(b"}"):
                got += client.recv(65536)
            assert got.startswith(b"HTTP/1.1 200 ")
            client.sendall(good[:-2] + b"X-A: " + b"a" * 70_000)
            assert client.recv(65536).startswith(b"HTTP/1.1 431 ")
            assert client.recv(65536) == b""


@contextlib.contextmanager
def second_caller(door: Door) -> Iterator[tuple[list[str], Callable[[], int]]]:
    """Scores all the while, on a connection of its own, each time another text.

    Gives the answers that were not its own, and a function that counts how many there were of all.
    """
    wrong: list[str] = []
    count = itertools.count()
    asked = [0]
    done = threading.Event()

    def ask() -> None:
        client = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
        while not done.is_set():
            text = f"mine {next(count)}"
            client.request("POST", f"{door.path}/score", text, {"Authorization": f"Bearer {door.key}"})
            answer = client.getresponse()
            got = answer.read().decode()
            if (answer.status, got) != (200, f'"body {text}"'):
                wrong.append(f"{text}: {answer.status} {got[:200]}")
            asked[0] += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield wrong, lambda: asked[0]
    finally:
        done.set()
        for thread in threads:
            thread.join()


def used_again(asked: Callable[[], int]) -> None:
    """Wait until the second client has reused the connections to the replica."""
    before = asked()
    eventually(lambda: asked() >= before + 4, what="answers to the second caller")


def _odd_requests(path: str, key: str) -> st.SearchStrategy[bytes]:
    """Return requests that hide another one in their body, with all kinds of framing, valid and invalid."""
    with_key = f"Authorization: Bearer {key}\r\n"
    hidden = st.sampled_from(
        [
            f"GET {path}/swagger.json HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Rest: ",
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            f"POST {path}/score HTTP/1.1\r\nHost: 127.0.0.1\r\n{with_key}Content-Length: 6\r\n\r\nhidden",
            f"0\r\n\r\nGET {path}/swagger.json HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Rest: ",
            "abc",
            "",
        ]
    )
    names = ["Content-Length", "content-length", "Transfer-Encoding", "Connection", "Host", "Upgrade", "Expect", "TE"]
    names += ["Trailer", "Keep-Alive", "X-A", "Content-Length ", " Content-Length", "Content_Length", "Authorization"]
    values = ["LENGTH", "0", "+LENGTH", "-1", "0x10", "LENGTH, LENGTH", "99999999999999999999", "chunked", "Chunked"]
    values += [" chunked", "chunked ", "gzip, chunked", "chunked, identity", "xchunked", '"chunked"', "close", ""]
    values += ["keep-alive", "content-length", "keep-alive, CONTENT-LENGTH", "transfer-encoding", "host", "upgrade"]
    values += ["upgrade, content-length", "h2c", "websocket", "100-continue", "trailers", "127.0.0.1", "evil.example"]
    values += [f"Bearer {key}"]
    header = st.tuples(
        st.sampled_from(names),
        st.sampled_from([":", ": ", ":\t", " : ", ":\r\n "]),
        st.sampled_from(values),
        st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", "\0\r\n"]),
    ).map("".join)
    options = ["keep-alive", "close", "content-length", "CONTENT-LENGTH", "transfer-encoding", "Host", "x-a", "upgrade"]
    connection = st.lists(st.sampled_from(options), min_size=1, max_size=3).map(
        lambda given: f"Connection: {', '.join(given)}\r\n"
    )
    line = st.builds(
        "{} {} {}".format,
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"]),
        st.sampled_from([f"{path}/swagger.json", f"{path}/score", path, f"http://127.0.0.1{path}/score", "/"]),
        st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]),
    )
    chunk = st.sampled_from(["{0:x}\r\n{1}\r\n0\r\n\r\n", "{0:x};a\r\n{1}\r\n0\r\n\r\n", "{0:x}\n{1}\r\n0\r\n\r\n"])
    chunk |= st.sampled_from(["{0:x}\r\n{1}\r\n0\r\nContent-Length: 5\r\nHost: b\r\n\r\n", "{1}", "{1}", "{1}"])
    right = st.sampled_from(["", "Content-Length: LENGTH\r\n", "Transfer-Encoding: chunked\r\n"])

    def put_together(line: str, right: str, headers: list[str], chunk: str, hidden: str) -> bytes:
        body = chunk.format(len(hidden), hidden)
        head = f"{line}\r\nHost: 127.0.0.1\r\n{right}{''.join(headers)}\r\n".replace("LENGTH", str(len(body)))
        return (head + body).encode("latin-1")

    return st.builds(put_together, line, right, st.lists(header | connection | connection, max_size=2), chunk, hidden)


def test_nobody_gets_the_answer_to_a_hidden_request(door: Door) -> None:
    with second_caller(door) as (wrong, asked):

        @settings(max_examples=250, suppress_health_check=list(HealthCheck), database=None)
        @given(odd=_odd_requests(door.path, door.key))
        def check(odd: bytes) -> None:
            got = exchange(door.port, odd, wait=0.2, is_enough=bool)
            used_again(asked)
            assert not got or got.startswith(b"HTTP/1.1 "), odd
            assert wrong == [], odd

        check()


def test_every_odd_framing_beside_a_second_caller(door: Door) -> None:
    hidden = f"GET {door.path}/swagger.json HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Rest: "
    with second_caller(door) as (wrong, asked):
        for odd, text in ODD_HEADERS.items():
            headers, _, _ = text.partition("\r\n\r\n")
            length = f"Content-Length: {len(hidden)}"
            for framing in (headers, headers.replace("Content-Length: 3", length), f"{headers}\r\n{length}"):
                head = f"POST {door.path}/score HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n\r\n{hidden}"
                exchange(door.port, head.encode("latin-1"), wait=0.2, is_enough=bool)
                used_again(asked)
                assert wrong == [], odd


IDLE = 450
"""Connections beside which others are answered: within the limit of open files that a test usually has."""
CROWDS = {
    "idle": "",
    "in a head": "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A",
    "in a body": "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Content-Length: 9\r\n\r\n[",
    "in a chunk": "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Transfer-Encoding: chunked\r\n\r\n9\r\n[",
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_others_are_answered_beside_a_crowd(door: Door, shared_service: ServiceProcess, crowd: str) -> None:
    """At the API, the front door and the service's own port; what a connection holds is little."""
    (service,) = (one for one in shared_service.get("/services")["value"] if one["name"] == "framing")
    own_port = urlsplit(service["scoringUri"]).port or 0
    api_path = f"{urlsplit(shared_service.base_url).path}/models?api-version=2017-09-01-preview"
    scoring = f"Authorization: Bearer {door.key}\r\n"
    calling = f"Authorization: Bearer {shared_service.token}\r\nContent-Type: application/json\r\n"
    processes = [psutil.Process(shared_service.process.pid), *shared_service.children()]
    for port, path, key in (
        (door.port, f"{door.path}/score", scoring),
        (own_port, f"{door.path}/score", scoring),
        (door.port, api_path, calling),
    ):
        before = sum(process.memory_info().rss for process in processes)
        with contextlib.ExitStack() as stack:
            for _ in range(IDLE if crowd == "idle" else 100):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                client.sendall(CROWDS[crowd].format(path=path, key=key).encode())
            assert shared_service.get("/models")["value"] is not None
            with second_caller(door) as (wrong, asked):
                used_again(asked)
            assert wrong == []
            used = sum(process.memory_info().rss for process in processes) - before
            assert used < 100 * 2**20, f"{used / IDLE / 1024:.0f} KiB for each connection"
