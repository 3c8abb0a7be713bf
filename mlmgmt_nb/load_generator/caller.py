"""One caller of a service: at most one request at a time, on a connection that is kept open."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from mlmgmt_nb.load_generator.connection import Connection
from mlmgmt_nb.load_generator.messages import Target

__all__ = ["Caller", "Response"]

_PAUSE_SECONDS = 0.1
"""Pause after a failed connection; without it, this program would spin if the service no longer exists."""


class Response:
    """The response to one request to one service."""

    __slots__ = ("content", "id", "seconds", "status")

    def __init__(self, status: int, seconds: float, content: bytes, request_id: str) -> None:
        self.status, self.seconds, self.content, self.id = status, seconds, content, request_id


class Caller:
    """Send requests to a service, one at a time, on a connection that is kept open.

    Args:
        target: the service.
        timeout: seconds until an answer counts as missing.
        on_answer: called with the number of the request and its answer; without one, with status 0 and the reason.
    """

    def __init__(self, target: Target, timeout: float, on_answer: Callable[[Caller, int, Response], None]) -> None:
        parts = urlsplit(target.url)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = _tls() if parts.scheme == "https" else None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authorization = f"Authorization: Bearer {target.key}\r\n" if target.key else ""
        more = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n{authorization}{more}"
            "Content-Length: "
        ).encode()
        self._timeout, self._on_answer = timeout, on_answer
        self._wire: Connection | None = None
        self._number: int | None = None
        self._request = b""
        self._counts_from = self._deadline = 0.0
        self.free_since = 0.0

    def send(self, number: int, body: bytes, counts_from: float) -> None:
        """Send a request; its latency counts from the given time."""
        self._number, self._counts_from = number, counts_from
        self._request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        self._deadline = time.perf_counter() + self._timeout
        if self._wire is None:
            self._task = asyncio.get_running_loop().create_task(self._connect_and_write())
        else:
            self._wire.write(self._request)

    async def connect(self) -> str:
        """Connect; return the reason if that fails."""
        name = self._host if self._tls else None
        connecting = asyncio.get_running_loop().create_connection(
            lambda: Connection(self._receive, self._disconnected),
            self._host,
            self._port,
            ssl=self._tls,
            server_hostname=name,
        )
        try:
            _, self._wire = await asyncio.wait_for(connecting, self._timeout)
        except OSError as error:  # includes TimeoutError
            return str(error) or type(error).__name__
        return ""

    async def _connect_and_write(self) -> None:
        number = self._number
        problem = await self.connect()
        if problem:
            await asyncio.sleep(_PAUSE_SECONDS)
        if self._number != number:  # the request was given up meanwhile
            return
        if self._wire is None:
            self._answered(0, f"no connection: {problem or 'it was closed at once'}".encode(), "")
        else:
            self._wire.write(self._request)

    def sweep(self, now: float) -> None:
        """Give up a request whose response is overdue."""
        if self._number is not None and now > self._deadline:
            self.close()
            self._answered(0, f"no answer within {self._timeout:g} s".encode(), "")

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _receive(self, wire: Connection, status: int, content: bytes, request_id: str) -> None:
        if wire is not self._wire:
            return
        if not wire.is_open:
            self._wire = None
        if self._number is not None:
            self._answered(status, content, request_id)

    def _disconnected(self, wire: Connection, reason: str) -> None:
        if wire is not self._wire:  # `close` was called
            return
        self._wire = None
        if self._number is None:
            return
        if wire.is_used and not wire.is_answering:
            # The service closed the kept connection, which is allowed between two requests.
            self._task = asyncio.get_running_loop().create_task(self._connect_and_write())
        else:
            self._answered(0, f"no answer: {reason}".encode(), "")

    def _answered(self, status: int, content: bytes, request_id: str) -> None:
        number, now = self._number, time.perf_counter()
        assert number is not None
        self._number, self._request = None, b""
        self.free_since = now
        self._on_answer(self, number, Response(status, now - self._counts_from, content, request_id))


def _tls() -> ssl.SSLContext:
    """Return a TLS context that trusts the same certificates as requests, which the rest of the client uses."""
    import certifi

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
