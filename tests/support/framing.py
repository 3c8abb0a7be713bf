"""Requests as bytes, with different framings and split into parts, for any HTTP/1.1 port."""

from __future__ import annotations

import gzip
import http.client
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

OFFERS = {
    "none": "",
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n",
    "TLS": "upgrade: TLS/1.2\r\nconnection: upgrade\r\n",
}
"""Headers with which clients offer other protocols."""
FRAMINGS = ("length", "chunked")

Answer = tuple[int, bytes]


@dataclass(frozen=True)
class Listener:
    """A port, and the path and headers of requests to it."""

    port: int
    path: str
    headers: str = ""
    host: str = "127.0.0.1"

    def request(self, body: bytes, framing: str = "length", offer: str = "none", more: str = "") -> bytes:
        """Return a POST with a body."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{self.headers}{more}{OFFERS[offer]}"
        if framing == "length":
            return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        half = len(body) // 2
        chunks = b"".join(b"%x;x=1\r\n%b\r\n" % (len(c), c) for c in (body[:half], body[half:]) if c)
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"

    def answers(self, parts: Iterable[bytes], count: int = 1) -> list[Answer]:
        """Send the parts and return `count` responses; the server has read each part before the next one is sent."""
        with ExitStack() as stack:
            caller, other = (stack.enter_context(closing(self.connect())) for _ in range(2))
            for number, part in enumerate(parts):
                if number:
                    self._ask_meanwhile(other)
                caller.sendall(part)
            return read_answers(caller, count)

    def connect(self) -> socket.socket:
        caller = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return caller

    def _ask_meanwhile(self, other: socket.socket) -> None:
        """Wait for the response to another request: by then, the server has read all data that was sent before."""
        other.sendall(f"GET / HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode())
        read_answers(other, 1)


def gzip_of_nothing(size: int) -> bytes:
    """Return at least `size` bytes of gzip that decompress to nothing: empty blocks without an end."""
    return gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * (size // 5)


def read_answers(caller: socket.socket, count: int) -> list[Answer]:
    """Return the next responses on a connection. The server must not send anything else."""
    with caller.makefile("rb") as stream:
        return [_read_answer(stream) for _ in range(count)]


def _read_answer(stream: object) -> Answer:
    response = http.client.HTTPResponse(_Stream(stream))  # type: ignore[arg-type]
    response.begin()
    return response.status, response.read()


class _Stream:
    """A socket for `HTTPResponse` that shares one stream, so that no response reads ahead of the next one."""

    def __init__(self, stream: object) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> object:
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Keep the stream open after the response."""

    def flush(self) -> None:
        pass


def cut(request: bytes, *places: int) -> Sequence[bytes]:
    """Return the parts of a request, cut at these places."""
    ends = [*sorted({place % len(request) for place in places} - {0}), len(request)]
    return [request[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
