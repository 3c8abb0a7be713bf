"""One request, forwarded to a replica and answered, both as a stream."""

from __future__ import annotations

import asyncio
from typing import Any

from mlmgmt_nb.service.gateway.upstream import ConnectionLostError, Head, ResponseEnd, Upstream
from mlmgmt_nb.service.http.framing import connection_options
from mlmgmt_nb.service.http.messages import Receive, Scope, Send

__all__ = ["CallerLeftError", "Exchange"]

_WATCH_SECONDS = 0.05
_LINGER_SECONDS = 10.0
"""Seconds to keep reading the rest of a refused body, as replicas do."""
_HOP_BY_HOP = frozenset(
    (
        b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade expect"
    ).split()
)
"""Hop-by-hop headers."""
_OWN = _HOP_BY_HOP | {b"date"}
"""Response headers that the API server sets itself."""


class CallerLeftError(Exception):
    """The caller disconnected before its response was complete.

    Args:
        has_asked: whether the request was complete.
        has_response: whether the response has begun.
    """

    def __init__(self, *, has_asked: bool, has_response: bool = False) -> None:
        super().__init__()
        self.has_asked, self.has_response = has_asked, has_response


class Exchange:
    """One forwarded request and its response.

    Args:
        upstream: the connection to use.
        target: path and query of the forwarded request.

    Attributes:
        response_started: whether the response has begun.
        complete: whether both are complete.
    """

    def __init__(self, upstream: Upstream, target: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        self._upstream = upstream
        self._target = target
        self._scope = scope
        self._receive = receive
        self._send = send
        self._chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        self._sent = asyncio.Event()
        self._feeding: asyncio.Task[None] | None = None
        self._caller_left = False
        self.response_started = False
        self.complete = False

    async def run(self) -> None:
        """Forward both directions concurrently: a replica may respond before it has read the whole body.

        Raises:
            CallerLeftError: the caller disconnected; the replica has been notified.
            ConnectionLostError: the replica ended before its response did.
        """
        self._upstream.begin(head_only=self._scope["method"] == "HEAD")
        first = await self._receive()
        if first["type"] == "http.disconnect":
            raise CallerLeftError(has_asked=False)
        if not first.get("more_body", False):
            self._sent.set()
        await self._upstream.write(
            _request_head(self._scope, self._target, chunked=self._chunked) + self._framed(first)
        )
        # Most responses come immediately: watching the client earlier would only cost time.
        delay = 0.0 if first.get("more_body", False) else _WATCH_SECONDS
        watching = asyncio.get_running_loop().call_later(delay, self._start_feeding, first)
        try:
            await self._relay()
        except ConnectionLostError:
            if self._caller_left:
                raise CallerLeftError(has_asked=self._sent.is_set(), has_response=self.response_started) from None
            raise
        finally:
            watching.cancel()
            if self._feeding is not None:
                self._feeding.cancel()

    def _start_feeding(self, first: Any) -> None:
        self._feeding = asyncio.create_task(self._feed(first))

    async def _feed(self, message: Any) -> None:
        """Send the rest of the body; then wait for the client to disconnect, so that the replica notices it."""
        try:
            while message.get("more_body", False):
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self._leave()
                    return
                await self._upstream.write(self._framed(message))
            self._sent.set()
            await self._receive()
            self._leave()
        except ConnectionLostError:
            return  # the other direction notices and handles it

    def _leave(self) -> None:
        """End the connection to the replica, because the caller has disconnected."""
        self._caller_left = True
        self._upstream.close()

    def _framed(self, message: Any) -> bytes:
        body: bytes = message.get("body", b"")
        if not self._chunked:
            return body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk if message.get("more_body", False) else chunk + b"0\r\n\r\n"

    async def _relay(self) -> None:
        while not isinstance(event := await self._upstream.next(), ResponseEnd):
            if isinstance(event, Head):
                self.response_started = True
                dropped = _OWN | connection_options(event.headers) - {b"content-length"}
                headers = [(name, value) for name, value in event.headers if name not in dropped]
                await self._send({"type": "http.response.start", "status": event.status, "headers": headers})
            elif self._upstream.at_end and self._sent.is_set():
                self.complete = True
                await self._send({"type": "http.response.body", "body": event})
                return
            else:
                await self._send({"type": "http.response.body", "body": event, "more_body": True})
        if self._feeding is not None and not self._sent.is_set():
            # The client is still sending the refused body; closing now would lose the response.
            sent = asyncio.create_task(self._sent.wait())
            await asyncio.wait({self._feeding, sent}, timeout=_LINGER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            sent.cancel()
        self.complete = self._sent.is_set()
        await self._send({"type": "http.response.body", "body": b""})


def _request_head(scope: Scope, target: bytes, *, chunked: bool) -> bytes:
    """Return the request line and headers for the replica."""
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), target)]
    dropped = _HOP_BY_HOP | connection_options(scope["headers"])
    lines += [b"%b: %b" % header for header in scope["headers"] if header[0] not in dropped]
    if scope.get("client"):
        lines.append(b"x-forwarded-for: " + scope["client"][0].encode())
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"
