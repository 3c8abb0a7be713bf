"""Bodies that come slowly, encoded or from foreign pages, at the port of a service."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from tests.support.framing import FRAMINGS, Listener, cut, gzip_of_nothing, read_answers

PLAIN = "def run(body):\n    return [body]\n"
RAW = (
    "from azureml.contrib.services.aml_request import rawhttp\n"
    "@rawhttp\ndef run(request):\n    return [request.get_data().hex(), request.headers['Content-Encoding']]\n"
)
TYPED = '{"input": {"x": {"internal": null, "swagger": {"type": "string", "example": "a"}, "type": 0}}}'


def listener(replica: Any) -> Listener:
    return Listener(urlsplit(replica.url).port or 0, "/score")


@pytest.fixture(params=["plain", "typed"])
def echo(request: Any, folder: Callable[..., Path], spawn: Callable[..., Any]) -> Any:
    """Return a driver that gets the body as text, or the argument `x` of it; both answer `["é"]`."""
    if request.param == "plain":
        app = folder("import json\ndef run(body):\n    return [json.loads(body)['x']]\n")
    else:
        app = folder("def run(x):\n    return [x]\n")
        (app / "service_schema.json").write_text(TYPED)
    return spawn(app, maxBodyBytes=2**20).ready()


class TestEncodedBodies:
    TEXT = '{"x": "é"}'
    RIGHT = (200, '["é"]'.encode())

    @pytest.mark.parametrize("framing", FRAMINGS)
    def test_all_that_are_decoded(self, echo: Any, framing: str) -> None:
        port, utf8 = listener(echo), self.TEXT.encode()
        json_in = "Content-Type: application/json; charset="
        for headers, body in (
            ("", b"\xef\xbb\xbf" + utf8),
            ("", self.TEXT.encode("utf-16")),
            (f"{json_in}utf-8\r\n", b"\xef\xbb\xbf" + utf8),
            (f"{json_in}utf-16\r\n", self.TEXT.encode("utf-16")),
            (f'{json_in}"UTF-32LE"\r\n', self.TEXT.encode("utf-32-le")),
            (f"{json_in}iso-8859-1\r\n", self.TEXT.encode("latin-1")),
            ("Content-Encoding: gzip\r\n", gzip.compress(utf8)),
            ("Content-Encoding: deflate\r\n", zlib.compress(utf8)),
            ("Content-Encoding: identity\r\n", utf8),
            (f"Content-Encoding: gzip\r\n{json_in}utf-16\r\n", gzip.compress(self.TEXT.encode("utf-16"))),
        ):
            request = port.request(body, framing, "h2c", headers)
            places = range(1, len(request), 7)
            for parts in ([request], [request], cut(request, *places), cut(request, -1), cut(request, -len(body) // 2)):
                assert port.answers(parts) == [self.RIGHT], headers
            assert port.answers([request * 3], 3) == [self.RIGHT] * 3, headers

    @pytest.mark.parametrize("framing", FRAMINGS)
    def test_all_that_are_refused(self, echo: Any, framing: str) -> None:
        port, utf8 = listener(echo), self.TEXT.encode()
        bomb, most = gzip.compress(b" " * 2**28), gzip.compress(utf8 + b" " * (2**20 - len(utf8)))
        for headers, body, status, named in (
            ("Content-Encoding: br\r\n", utf8, 415, "br"),
            (
                "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n",
                gzip.compress(gzip.compress(utf8)),
                415,
                "gzip, gzip",
            ),
            ("Content-Type: text/plain; charset=utf-7\r\n", utf8, 415, "utf-7"),
            ("Content-Type: text/plain; charset=utf-16\r\n", "日".encode("utf-16-be"), 415, "byte order mark"),
            ("Content-Encoding: gzip\r\n", utf8, 400, "gzip"),
            ("Content-Encoding: gzip\r\n", gzip.compress(utf8)[:-1], 400, "is truncated"),
            ("Content-Encoding: gzip\r\n", bomb, 413, "1048576 bytes"),
            ("Content-Encoding: gzip\r\n", gzip_of_nothing(3 * 2**20), 413, "1048576 bytes"),
            ("Content-Encoding: deflate\r\n", zlib.compress(utf8 + b" " * 2**20), 413, "1048576 bytes"),
        ):
            (answer,) = port.answers([port.request(body, framing, more=headers)])
            error = json.loads(answer[1])
            assert (answer[0], error["statusCode"]) == (status, status), error
            assert named in error["message"]
        assert port.answers([port.request(most, framing, more="Content-Encoding: gzip\r\n")]) == [self.RIGHT]
        assert psutil.Process(echo.process.pid).memory_info().rss < 2**28

    def test_a_driver_that_wants_the_request_gets_it_as_it_came(
        self, folder: Callable[..., Path], spawn: Callable[..., Any]
    ) -> None:
        port = listener(spawn(folder(RAW)).ready())
        for coding, body in (("gzip", gzip.compress(b"[1]")), ("br", b"\xff\xfe\0"), ("own", b"\xef\xbb\xbf[1]")):
            expected = json.dumps([body.hex(), coding], separators=(",", ":")).encode()
            assert port.answers([port.request(body, more=f"Content-Encoding: {coding}\r\n")]) == [(200, expected)]


class TestSlowBodies:
    @pytest.fixture
    def slow(self) -> Iterator[Callable[..., Any]]:
        """Send the beginning of a request of a thousand bytes; its connection."""
        with ExitStack() as stack:

            def send(port: Listener, framing: str = "length", sent: int = 1) -> Any:
                caller = stack.enter_context(closing(port.connect()))
                request = port.request(b"x" * 1000, framing)
                caller.sendall(request[: request.index(b"xx") + sent])
                return caller

            yield send

    @pytest.mark.parametrize("framing", FRAMINGS)
    def test_they_take_no_places(
        self, folder: Callable[..., Path], spawn: Callable[..., Any], slow: Any, framing: str
    ) -> None:
        replica = spawn(folder(PLAIN), concurrency=1, maxBodyBytes=1000).ready()
        port = listener(replica)
        callers = [slow(port, framing) for _ in range(50)]
        for parts in ([port.request(b"[1]")], cut(port.request(b"[1]"), -2)):
            assert port.answers(parts) == [(200, b'["[1]"]')]
        assert requests.get(replica.url, timeout=30).json()["calls"] == 0
        rest = port.request(b"x" * 1000, framing)
        callers[0].sendall(rest[rest.index(b"xx") + 1 :])
        assert read_answers(callers[0], 1) == [(200, json.dumps(["x" * 1000]).encode())]

    def test_they_end_with_the_time_of_a_request(
        self, folder: Callable[..., Path], spawn: Callable[..., Any], slow: Any
    ) -> None:
        port = listener(spawn(folder(PLAIN), requestTimeoutSeconds=0.3).ready())
        callers = [slow(port, framing) for framing in FRAMINGS]
        for caller in callers:
            status, body = read_answers(caller, 1)[0]
            assert (status, json.loads(body)["message"]) == (408, "the body did not arrive within 0.3 seconds")

    def test_their_memory_is_bounded_together(
        self, folder: Callable[..., Path], spawn: Callable[..., Any], slow: Any
    ) -> None:
        """Two largest bodies fit. What has been coming for longest goes when there is more; others are answered."""
        port = listener(spawn(folder(PLAIN), concurrency=2, maxBodyBytes=1000).ready())
        callers = [slow(port, sent=700) for _ in range(2)]
        assert port.answers(cut(port.request(b"x" * 590), -1)) == [(200, json.dumps(["x" * 590]).encode())]
        callers.append(slow(port, sent=700))
        status, body = read_answers(callers[0], 1)[0]
        assert (status, json.loads(body)["code"]) == (503, "TooManyRequests")
        for caller in callers[1:]:
            caller.sendall(b"x" * 300)
            assert read_answers(caller, 1)[0][0] == 200

    def test_they_do_not_hold_up_the_end(
        self, folder: Callable[..., Path], spawn: Callable[..., Any], slow: Any
    ) -> None:
        replica = spawn(folder(PLAIN)).ready()
        caller = slow(listener(replica))
        requests.get(replica.url, timeout=30)  # it was read
        replica.send({"type": "drain", "seconds": 0.3})
        status, body = read_answers(caller, 1)[0]
        assert (status, json.loads(body)["code"]) == (503, "ReplicaEnds")
        assert replica.process.wait(30) == 1


class TestHosts:
    def test_foreign_pages(self, folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
        replica = spawn(folder(PLAIN), name="s").ready()
        port = listener(replica)

        def ask(headers: str, path: str = "/score", method: str = "POST") -> int:
            request = f"{method} {path} HTTP/1.1\r\n{headers}Content-Length: 3\r\n\r\n[1]".encode()
            statuses = {port.answers([request])[0][0] for _ in range(3)}  # heads that arrived before are cached
            assert port.answers(cut(request, -2))[0][0] in statuses
            assert len(statuses) == 1
            return statuses.pop()

        own = f"Host: 127.0.0.1:{port.port}\r\n"
        for method, path in (("POST", "/score"), ("GET", "/"), ("GET", "/swagger.json"), ("GET", "/nowhere")):
            right = 404 if path == "/nowhere" else 200
            assert ask(own, path, method) == ask("Host: localhost\r\n", path, method) == right
            assert ask(f"{own}Origin: http://localhost:8888\r\n", path, method) == right
            assert ask("Host: evil.example\r\n", path, method) == 403
            assert ask(f"Host: evil.example:{port.port}\r\nOrigin: http://localhost\r\n", path, method) == 403
            assert ask(f"{own}Origin: http://evil.example\r\n", path, method) == 403
            assert ask(f"{own}Origin: null\r\n", path, method) == 403
            assert ask(f"{own}{own}", path, method) == 400
            assert ask("Host: localhost/?x=://localhost\r\n", path, method) == 400
        old = b"POST /score HTTP/1.0\r\nContent-Length: 3\r\n\r\n[1]"
        assert port.answers([old]) == [(200, b'["[1]"]')], "no browser leaves it out"
        assert (
            "evil.example" in requests.post(f"{replica.url}/score", headers={"host": "evil.example"}, timeout=30).text
        )

    def test_hosts_and_origins_that_are_allowed(
        self, folder: Callable[..., Path], by_hand: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(os.environ, "AML_CORS_ORIGINS", "https://app.example")
        _, url, _ = by_hand(folder(PLAIN), "--allowed-host", "ml.example", "--allowed-host", "10.0.0.0/8")

        def ask(**headers: str) -> int:
            return requests.post(f"{url}/score", "[1]", headers=headers, timeout=30).status_code

        wait_for(url)
        assert [ask(Host=host) for host in ("localhost", "ml.example", "10.1.2.3:80", "other.example")] == [200] * 3 + [
            403
        ]
        for origin in ("https://app.example", "https://ml.example", "http://localhost:8888"):
            assert ask(Origin=origin) == 200
        assert ask(Origin="https://other.example") == 403

    def test_beyond_loopback_all_names_are_its_own(self, folder: Callable[..., Path], by_hand: Any) -> None:
        """As in a container whose port is published: nothing here knows its names. Pages must be of the same host."""
        _, url, _ = by_hand(folder(PLAIN), "--host", "0.0.0.0")
        url = url.replace("0.0.0.0", "127.0.0.1")
        wait_for(url)

        def ask(**headers: str) -> int:
            return requests.post(f"{url}/score", "[1]", headers=headers, timeout=30).status_code

        assert ask(Host="ml.example") == ask(Host="ml.example", Origin="https://ml.example") == 200
        assert ask(Host="ml.example", Origin="https://evil.example") == 403


def wait_for(url: str) -> None:
    """Wait until the driver is loaded; until then, connections wait at the socket."""
    assert requests.get(url, timeout=30).status_code == 200
