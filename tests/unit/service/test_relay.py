"""The relay between the port of a service and its pods, and how it makes way for a router. Servers stand for pods."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlmgmt_nb.service.compute.forwarding.relay import Relay, Target, Wait
from mlmgmt_nb.service.gateway.router import Router
from mlmgmt_nb.service.gateway.split import Split
from mlmgmt_nb.service.system.sockets import bind
from tests.support.waiting import eventually

_PATH = "/api/v1/service/s/score"


class Pod(ThreadingHTTPServer):
    """A server that answers with its name and the length of the body.

    Attributes:
        gate: open unless a test closes it; requests with a body wait for it.
        is_asked: set by the first request with a body, before its body is read.
    """

    daemon_threads = True

    def __init__(self, name: str) -> None:
        self.gate = gate = threading.Event()
        gate.set()
        self.is_asked = is_asked = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(b"healthy")

            def do_POST(self) -> None:
                is_asked.set()
                body = self.rfile.read(int(self.headers["content-length"]))
                gate.wait(20)
                self._say(f"{name} {len(body)}".encode())

            def _say(self, said: bytes) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Caller:
    """A caller that keeps its connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.connect()
        self.local_port = self._connection.sock.getsockname()[1]

    def ask(self, size: int = 1) -> str:
        self._connection.request("POST", _PATH, b"x" * size)
        return self._connection.getresponse().read().decode()

    @property
    def is_kept(self) -> bool:
        """Whether the first connection is still the one in use."""
        sock = self._connection.sock
        return sock is not None and sock.getsockname()[1] == self.local_port


@pytest.fixture
def old() -> Iterator[Pod]:
    pod = Pod("old")
    yield pod
    pod.shutdown()
    pod.server_close()


@pytest.fixture
def ports(old: Pod) -> Iterator[tuple[Relay, Router, socket.socket, Split]]:
    """Return a relay to an old pod, a router, the socket of the service, and a split in favor of a new pod."""
    relay, router, new = Relay(lambda: None), Router(), Pod("new")
    public, private = (bind("127.0.0.1", 0) for _ in range(2))
    for listener in (public, private):
        listener.listen()
        listener.setblocking(False)
    relay.listen("s", public)
    relay.listen("s", private, is_private=True)
    relay.set_target("s", Target("here", ("127.0.0.1", old.port)))
    yield relay, router, public, Split(private.getsockname()[1], new.port, 1.0)
    router.stop()
    relay.stop()
    new.shutdown()
    new.server_close()
    for listener in (public, private):
        listener.close()


def test_kept_connections_go_to_the_router_with_their_next_request(
    ports: tuple[Relay, Router, socket.socket, Split],
) -> None:
    relay, router, public, split = ports
    port = public.getsockname()[1]
    kept, large = Caller(port), Caller(port)
    assert [kept.ask(), large.ask()] == ["old 1", "old 1"]
    router.route("s", public, split)
    relay.divert("s", router.taker("s"))
    assert kept.ask() == "new 1"
    assert large.ask(2**22) == f"new {2**22}", "a body that arrives in many parts"
    assert kept.is_kept
    assert large.is_kept
    assert [kept.ask(), large.ask(), Caller(port).ask()] == ["new 1"] * 3
    router.split("s", split._replace(share=0.5))
    assert sorted(kept.ask() for _ in range(10)) == ["new 1"] * 5 + ["old 1"] * 5

    # Afterwards, everything goes to the pods of the service. The next response ends a connection at the router.
    relay.listen("s", public)
    router.release("s")
    eventually(lambda: kept.ask() == "old 1", what="the end of the split")
    assert Caller(port).ask() == "old 1"


def test_a_request_that_has_begun_stays_where_it_is(
    ports: tuple[Relay, Router, socket.socket, Split], old: Pod
) -> None:
    relay, router, public, split = ports
    with socket.create_connection(public.getsockname(), timeout=20) as caller:
        head = f"POST {_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: "
        caller.sendall(f"{head}10\r\n\r\n".encode())
        assert old.is_asked.wait(20)
        router.route("s", public, split)
        relay.divert("s", router.taker("s"))
        caller.sendall(b"POST /api/")  # a body may look like a request
        assert _answer(caller) == "old 10"
        caller.sendall(f"{head}1\r\n\r\n1".encode())
        assert _answer(caller) == "new 1"


def test_a_router_that_has_ended_takes_nothing(ports: tuple[Relay, Router, socket.socket, Split]) -> None:
    relay, router, public, split = ports
    caller = Caller(public.getsockname()[1])
    caller.ask()
    router.route("s", public, split)
    take = router.taker("s")
    router.release("s")
    relay.divert("s", take)
    assert caller.ask() == "old 1"


@pytest.fixture
def stopping() -> Iterator[tuple[Relay, Pod, int]]:
    """Return a relay to a pod, the pod, and the port of the service."""
    relay, pod, public = Relay(lambda: None), Pod("old"), bind("127.0.0.1", 0)
    public.listen()
    public.setblocking(False)
    port = public.getsockname()[1]
    relay.listen("s", public)
    public.close()
    relay.set_target("s", Target("here", ("127.0.0.1", pod.port)))
    yield relay, pod, port
    pod.gate.set()
    relay.stop()
    pod.shutdown()
    pod.server_close()


def _begin(port: int) -> Caller:
    """Begin a request that waits for the gate of its pod."""
    caller = Caller(port)
    caller._connection.request("POST", _PATH, b"x")
    return caller


def _status(caller: Caller) -> int:
    response = caller._connection.getresponse()
    response.read()
    return response.status


def test_requests_in_progress_are_completed_before_a_stop(stopping: tuple[Relay, Pod, int]) -> None:
    relay, pod, port = stopping
    kept = Caller(port)
    assert kept.ask() == "old 1"
    pod.gate.clear()
    busy = _begin(port)
    eventually(lambda: len(relay._relays) == 2 and None not in relay._relays.values(), what="both connections")
    relay.drain(20)
    eventually(lambda: not relay._servers, what="the end of the port")
    with pytest.raises(ConnectionRefusedError):
        Caller(port)
    kept._connection.request("POST", _PATH, b"x")
    assert _status(kept) == 503, "the next request of a kept connection comes too late"
    assert relay._thread.is_alive()
    pod.gate.set()
    assert _status(busy) == 200
    relay.join()


@pytest.mark.parametrize("is_kept", [True, False], ids=["answered", "unused"])
def test_an_idle_connection_does_not_hold_a_stop(stopping: tuple[Relay, Pod, int], is_kept: bool) -> None:
    relay, _, port = stopping
    caller = Caller(port)
    if is_kept:
        caller.ask()
    began = time.monotonic()
    relay.drain(20)
    relay.join()
    assert time.monotonic() - began < 10


def test_a_stop_has_a_limit(stopping: tuple[Relay, Pod, int]) -> None:
    relay, pod, port = stopping
    pod.gate.clear()
    busy = _begin(port)
    relay.drain(0.5)
    relay.join()
    with pytest.raises((OSError, http.client.HTTPException)):
        _status(busy)


def test_a_connection_that_is_accepted_as_its_port_closes_is_not_lost(stopping: tuple[Relay, Pod, int]) -> None:
    relay, _, port = stopping
    accepting = threading.Event()

    def accept_and_close() -> None:
        """Keep the loop until a connection waits, so that it is accepted in the turn in which its port closes."""
        accepting.set()
        time.sleep(0.3)
        relay._loop.call_soon(relay._loop.call_soon, relay._close, ("s", False))

    relay._loop.call_soon_threadsafe(accept_and_close)
    accepting.wait()
    assert _status(_begin(port)) == 200


def test_requests_that_wait_for_a_pod_are_refused_by_a_stop(stopping: tuple[Relay, Pod, int]) -> None:
    relay, _, port = stopping
    relay.set_target("s", Wait("No pod is ready yet."))
    waiting = _begin(port)
    eventually(lambda: relay.has_waiting("s"), what="the connection")
    relay.drain(20)
    relay.set_target("s", Wait("A round of the cluster ends a moment later."))
    assert _status(waiting) == 503
    relay.join()


def _answer(caller: socket.socket) -> str:
    answer = http.client.HTTPResponse(caller)
    answer.begin()
    return answer.read().decode()
