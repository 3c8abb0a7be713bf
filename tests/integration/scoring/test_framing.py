"""Whatever frames a request, offers another protocol with it or cuts it apart: the driver gets its body."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.framing import FRAMINGS, OFFERS, Answer, Listener, cut, read_answers

ENDLESS = {
    "request line": (b"GET /", b"a" * 50),
    "header": (b"GET / HTTP/1.1\r\nX: ", b"a" * 50),
    "header name": (b"GET / HTTP/1.1\r\nX", b"a" * 50),
    "headers": (b"GET / HTTP/1.1\r\n", b"X-More: 1\r\n"),
    "offer": (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: ", b"h2c, "),
    "line ends": (b"", b"\r\n"),
    "chunk extension": (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;", b"x=1;"),
    "trailers": (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n", b"X-More: 1\r\n"),
    "trailer": (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 50),
}
BEFORE = {
    "at first": b"",
    "after a request": b"GET / HTTP/1.1\r\n\r\n",
    "after a body": b"POST /nowhere HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000,
    "after an offer": b"POST /nowhere HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
}
_LARGEST = 65536 + 16384
_SENT = 8 * 2**20


@pytest.fixture
def replica(folder: Callable[..., Path], spawn: Callable[..., Any]) -> Any:
    return spawn(folder("def run(body):\n    return [body]\n"), concurrency=50).ready()


@pytest.fixture
def listener(replica: Any) -> Listener:
    return Listener(urlsplit(replica.url).port or 0, "/score")


def right(body: bytes) -> Answer:
    return 200, json.dumps([body.decode()]).encode()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", OFFERS)
def test_requests_cut_at_every_place(listener: Listener, framing: str, offer: str) -> None:
    request = listener.request(b'{"a": 1}', framing, offer)
    expected = [right(b'{"a": 1}')]
    assert listener.answers([request]) == expected
    for place in range(1, len(request)):
        assert listener.answers(cut(request, place)) == expected, request[:place]


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_requests_in_a_row(listener: Listener, data: st.DataObject) -> None:
    """One connection: each is answered in its turn with its own body, where one ends and the next begins in a read."""
    kind = st.tuples(st.sampled_from(FRAMINGS), st.sampled_from(sorted(OFFERS)), st.sampled_from((0, 1, 9, 70_000)))
    kinds = data.draw(st.lists(kind, min_size=1, max_size=5))
    bodies = [(str(number) * size)[:size].encode() for number, (_, _, size) in enumerate(kinds)]
    sent = b"".join(listener.request(body, kind[0], kind[1]) for body, kind in zip(bodies, kinds, strict=True))
    places = data.draw(st.lists(st.integers(0, len(sent)), max_size=6))
    assert listener.answers(cut(sent, *places), len(kinds)) == [right(body) for body in bodies]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_offer_and_what_else_a_head_asks_for(listener: Listener, framing: str) -> None:
    request = listener.request(b"[1]", framing, "h2c", "Expect: 100-continue\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    with listener.connect() as caller:
        caller.sendall(head + b"\r\n\r\n")
        received = caller.recv(1000)
        assert received.startswith(b"HTTP/1.1 100 Continue\r\n")
        caller.sendall(body)
        assert read_answers(caller, 1) == [right(b"[1]")]
    with listener.connect() as caller:
        caller.sendall(request.replace(b"Upgrade,", b"Upgrade, close,").replace(b"Expect: 100-continue\r\n", b""))
        assert read_answers(caller, 1) == [right(b"[1]")]
        assert caller.recv(1) == b""


@pytest.mark.parametrize("framing", FRAMINGS)
def test_white_space_around_values(listener: Listener, framing: str) -> None:
    head, _, body = listener.request(b"[1]", framing, more="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    behind = {b"Transfer-Encoding: chunked": b""}  # the parser refuses it there
    spaced = [header.replace(b": ", b":\t ") + behind.get(header, b" \t") for header in headers]
    with listener.connect() as caller:
        caller.sendall(b"\r\n".join([line, *spaced, b"", b""]))
        assert caller.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n")
        caller.sendall(body)
        assert read_answers(caller, 1) == [right(b"[1]")]


def test_tunnels_are_refused(listener: Listener) -> None:
    for target in (b"a:1", b"/score"):
        hidden = listener.request(b"[1]")
        with listener.connect() as caller:
            caller.sendall(b"CONNECT %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target + hidden)
            assert read_answers(caller, 1)[0][0] == 400
            assert caller.recv(1) == b"", "what follows is not read as a request"


CHUNKS = b"3\r\n[1]\r\n0\r\n\r\n"
REFUSED = {
    "another coding": ("/score", "1.1", "Transfer-Encoding: gzip, chunked"),
    "chunked twice": ("/score", "1.1", "Transfer-Encoding: chunked, chunked"),
    "identity": ("/score", "1.1", "Transfer-Encoding: identity, chunked"),
    "two headers": ("/score", "1.1", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
    "two headers of one coding": ("/score", "1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "a length too": ("/score", "1.1", "Transfer-Encoding: chunked\r\nContent-Length: 13"),
    "a length first": ("/score", "1.1", "Content-Length: 13\r\nTransfer-Encoding: chunked"),
    "chunks in HTTP/1.0": ("/score", "1.0", "Transfer-Encoding: chunked"),
    "a target on another host": ("http://evil.example/score", "1.1", "Transfer-Encoding: chunked"),
    "a target on another port": ("http://127.0.0.1:1/score", "1.1", "Transfer-Encoding: chunked"),
    "a length that a proxy may drop": ("/score", "1.1", "Connection: close, content-length\r\nContent-Length: 13"),
    "a coding that a proxy may drop": ("/score", "1.1", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked"),
    "a host that a proxy may drop": ("/score", "1.1", "Connection: Host\r\nTransfer-Encoding: chunked"),
    "not a header": ("/score", "1.1", "Transfer-Encoding chunked"),
    "a length that is not a number": ("/score", "1.1", "Content-Length: x"),
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("what", REFUSED)
def test_ambiguous_heads_are_refused(listener: Listener, what: str, offer: str) -> None:
    target, version, framing = REFUSED[what]
    head = f"POST {target} HTTP/{version}\r\nHost: 127.0.0.1:{listener.port}\r\n{OFFERS[offer]}{framing}\r\n\r\n"
    hidden = listener.request(b"[2]")
    with listener.connect() as caller:
        caller.sendall(listener.request(b"[0]"))
        assert read_answers(caller, 1) == [right(b"[0]")]
        caller.sendall(head.encode() + CHUNKS + hidden)
        [(status, body)] = read_answers(caller, 1)
        with contextlib.suppress(ConnectionError):
            assert caller.recv(1) == b"", "what follows is not read as a request"
    answer = json.loads(body)
    assert status == answer["statusCode"] == 400
    assert set(answer) == {"code", "message", "statusCode", "requestId", "details"}
    assert answer["requestId"]
    assert answer["message"]


def test_a_target_with_its_own_host_is_answered(listener: Listener) -> None:
    request = listener.request(b"[1]").replace(b"/score", b"http://127.0.0.1:%d/score" % listener.port, 1)
    assert listener.answers([request + request], 2) == [right(b"[1]")] * 2
    [(status, body)] = listener.answers([request.replace(b"127.0.0.1", b"evil.example")])
    assert (status, json.loads(body)["code"]) == (403, "ForeignHost")


def test_trailers_are_not_headers(drivers: Path, folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    source = (
        "from azureml.contrib.services.aml_request import rawhttp\n"
        "@rawhttp\ndef run(request):\n    return sorted(name.lower() for name, _ in request.headers)\n"
    )
    replica = spawn(folder(source)).ready()
    listener = Listener(urlsplit(replica.url).port or 0, "/score")
    assert listener.answers([listener.request(b"[1]", "chunked")]) == [(200, b'["content-length","host"]')]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("what", ENDLESS)
def test_heads_and_trailers_are_bounded(replica: Any, listener: Listener, what: str, before: str) -> None:
    begin, more = ENDLESS[what]
    endless = (more * (_SENT // len(more) + 1))[:_SENT]
    process = psutil.Process(replica.process.pid)
    memory = process.memory_info().rss
    with listener.connect() as caller:
        sent = 0
        with contextlib.suppress(ConnectionError):
            caller.sendall(BEFORE[before] + begin)
            while sent < _SENT:
                sent += caller.send(endless[sent : sent + 4096])
    assert sent < _SENT
    assert process.memory_info().rss - memory < _SENT
    # what is received whole before the other side closes shows the answer
    with listener.connect() as caller:
        caller.sendall(BEFORE[before] + begin + endless[:_LARGEST])
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := caller.recv(65536):
                received += data
    if before == "at first":
        assert received.startswith(b"HTTP/1.1 431 ")
    assert listener.answers([listener.request(b"[1]")]) == [right(b"[1]")]


def test_a_head_just_below_the_limit(listener: Listener) -> None:
    for size in (60_000, 1000):
        request = listener.request(b"[1]", "chunked", "h2c", "X: " + "a" * size + "\r\n")
        for parts in ([request], cut(request, *range(0, len(request), 5000))):
            assert listener.answers(parts) == [right(b"[1]")]
    body = b"x" * 300_000
    assert listener.answers([listener.request(body) + listener.request(b"[1]")], 2)[1] == right(b"[1]")


def test_sockets_are_read_as_they_come(listener: Listener) -> None:
    """A pipeline of many small requests with offers, in one write."""
    count = 500
    with listener.connect() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        caller.sendall(listener.request(b"[1]", "length", "h2c") * count)
        assert read_answers(caller, count) == [right(b"[1]")] * count
