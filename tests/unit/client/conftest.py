"""A real HTTP server on loopback whose answers a test scripts, and workspaces that talk to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.credentials import StaticToken
from mlmgmt_nb.client.http.transport import Location, Transport

ACCOUNT = "/api/subscriptions/s/resourceGroups/g/accounts/test"


@dataclass
class Seen:
    """A request as the server got it. `path` comes after the account's."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """An answer. A `body` that is no bytes is sent as JSON; `broken` closes the connection without an answer."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    broken: bool = False


Script = Callable[[Seen], Answer]


class Server:
    """Answers by `script`, a function of the request; `seen` has the requests."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: Script = lambda seen: Answer(500, {"code": "NoScript", "message": seen.path})
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def base_url(self) -> str:
        return self.origin + ACCOUNT

    def answers(self, *answers: Answer) -> None:
        """Return these answers one after the other."""
        left = list(answers)
        self.script = lambda _: left.pop(0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # header and body in one packet

            def answer(self) -> None:
                parts = urlsplit(self.path)
                seen = Seen(
                    self.command,
                    parts.path.removeprefix(ACCOUNT),
                    {name: values[0] for name, values in parse_qs(parts.query).items()},
                    dict(self.headers),
                    self.rfile.read(int(self.headers.get("Content-Length", 0))),
                )
                with outer._lock:
                    outer.seen.append(seen)
                    answer = outer.script(seen)
                if answer.broken:
                    self.close_connection = True
                    return
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        return Handler


@dataclass
class Pauses:
    """A clock that moves only by the pauses that are asked of it."""

    made: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.made.append(seconds)

    def clock(self) -> float:
        return sum(self.made)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def transport(server: Server, pauses: Pauses) -> Iterator[Transport]:
    """Yield a transport whose pauses take no time and are always the longest."""
    transport = Transport(
        Location(server.base_url, StaticToken("secret", "a test")),
        timeout=(2.0, 2.0),
        sleep=pauses.sleep,
        clock=pauses.clock,
        uniform=lambda: 1.0,
    )
    yield transport
    transport.close()


@pytest.fixture
def workspace(server: Server) -> Iterator[Workspace]:
    """Yield a workspace that keeps real time, with short pauses."""
    transport = Transport(Location(server.base_url, StaticToken("secret", "a test")), uniform=lambda: 0.01)
    with Workspace(transport) as workspace:
        yield workspace
