"""The front door: the port of the API also serves every service, so that a firewall needs to open only one port.

A request for `/api/v1/service/NAME/...` is streamed to the service's own port, and the response back; neither is
buffered as a whole. The replica checks keys, as at its own port. Clients also wait as they would there: a sleeping
service is woken, and nothing is lost when a service is updated. Accounts may use the same name: the oldest service is
reached by name, and any service by its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from mlmgmt_nb.service.gateway.upstream import ConnectionLostError, Head, ResponseEnd, Upstream
from mlmgmt_nb.service.http.framing import connection_options
from mlmgmt_nb.service.http.messages import Receive, Scope, Send
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["CANDIDATE", "PREFIX", "Gateway", "first_of_names"]

PREFIX = ("api", "v1", "service")
CANDIDATE = "candidate"
"""The segment of the path between the name of a service and the rest that leads to its candidate."""

_ADDRESS_SECONDS = 1.0
"""Seconds to cache a port before the store is read again."""
_CONNECTION_SECONDS = 1.0
"""Seconds to reuse an idle connection to a replica. Shorter than a retired replica keeps its open connections (2 s), so
that no request is sent on a connection that is about to close; and new replicas soon get their share.
"""
_CONNECT_SECONDS = 30.0
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


def first_of_names(db: Connection, names: Sequence[str]) -> dict[str, str]:
    """Return the service (its id) that the front door uses for each name: the oldest, if accounts share a name."""
    services = schema.services
    oldest = (
        select(func.min(services.c.seq))
        .where(services.c.name.in_(names), ~services.c.deleting)
        .group_by(services.c.name)
    )
    query = select(services.c.name, services.c.id).where(services.c.seq.in_(oldest))
    return {row.name: row.id for row in db.execute(query)}


class _ServiceAddress(NamedTuple):
    """The name of a service, as in the paths of its replicas, its port, and the number of segments before the rest."""

    name: str
    port: int
    segments: int = len(PREFIX) + 1


class Gateway:
    """Forwards requests.

    Args:
        host: the address that scoring services listen on.
    """

    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to connect, not to bind
        self._addresses: dict[str, tuple[_ServiceAddress, float]] = {}
        self._idle: dict[int, list[Upstream]] = {}

    async def __call__(self, segments: Sequence[str], scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a service or its candidate.

        Args:
            segments: the segments of the path after the prefix: the name or id of the service first, then the rest.

        Raises:
            Problem: the request could not be forwarded, and no response has been started.
        """
        name = "/".join(segments[: 2 if len(segments) > 2 and segments[1] == CANDIDATE else 1])
        address = await self._address(name)
        upstream = await self._connected(name, address.port)
        exchange = _Exchange(upstream, address, scope, receive, send)
        try:
            await exchange.run()
        except ConnectionLostError:
            if not exchange.response_started:
                raise Problem(
                    502,
                    "ReplicaLost",
                    "The replica ended before it responded. Try again.",
                    headers={"retry-after": "1"},
                ) from None
            # The response has begun: the only remaining signal is to leave it incomplete.
        finally:
            self._release(upstream, address.port, reusable=exchange.complete)

    async def _connected(self, name: str, port: int) -> Upstream:
        loop = asyncio.get_running_loop()
        for upstream in _popped(self._idle.get(port, [])):
            if not upstream.ended and loop.time() - upstream.opened < _CONNECTION_SECONDS:
                return upstream
            upstream.close()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, upstream = await loop.create_connection(
                    lambda: Upstream(lambda ended: self._forget(ended, port)), self._host, port
                )
        except OSError:
            self._addresses.pop(name, None)
            raise _unreachable(name) from None
        loop.call_later(_CONNECTION_SECONDS, self._expire, upstream, port)
        return upstream

    async def _address(self, name: str) -> _ServiceAddress:
        """Return the address of a service.

        Raises:
            Problem: 404 when the service does not exist, 503 when it has no port yet.
        """
        loop = asyncio.get_running_loop()
        cached = self._addresses.pop(name, None)
        if cached and loop.time() - cached[1] < _ADDRESS_SECONDS:
            self._addresses[name] = cached
            return cached[0]
        found = await loop.run_in_executor(None, self._look_up, name)
        if found is None:
            raise _unreachable(name)
        self._addresses[name] = (found, loop.time())
        return found

    def _look_up(self, name: str) -> _ServiceAddress | None:
        services = schema.services
        query = select(services.c.name, services.c.port).where(~services.c.deleting)
        plain, _, candidate = name.partition("/")
        with self._store.reading() as db:
            # Ids are longer than any name.
            service_id = first_of_names(db, [plain]).get(plain, plain)
            column = services.c.candidate_of if candidate else services.c.id
            row = db.execute(query.where(column == service_id)).one_or_none()
        if row is None and candidate:
            raise Problem(404, "NoCandidate", f"The service {plain!r} does not exist here, or it has no candidate.")
        if row is None:
            raise Problem(404, "ServiceNotFound", f"A service named {name!r} does not exist here.")
        segments = len(PREFIX) + (2 if candidate else 1)
        return None if row.port is None else _ServiceAddress(row.name.partition("/")[0], row.port, segments)

    def _release(self, upstream: Upstream, port: int, *, reusable: bool) -> None:
        young = asyncio.get_running_loop().time() - upstream.opened < _CONNECTION_SECONDS
        if reusable and young and upstream.reusable:
            self._idle.setdefault(port, []).append(upstream)
        else:
            upstream.close()

    def _expire(self, upstream: Upstream, port: int) -> None:
        if upstream in self._idle.get(port, []):
            upstream.close()

    def _forget(self, upstream: Upstream, port: int) -> None:
        idle = self._idle.get(port, [])
        if upstream in idle:
            idle.remove(upstream)
        if not idle:
            self._idle.pop(port, None)


def _popped(idle: list[Upstream]) -> Iterator[Upstream]:
    while idle:
        yield idle.pop()


def _unreachable(name: str) -> Problem:
    return Problem(
        503, "NoReplicas", f"The service {name!r} is not listening yet. Try again.", headers={"retry-after": "1"}
    )


class _Exchange:
    """One forwarded request and its response.

    Attributes:
        answering: whether the response has begun.
        clean: whether both are complete.
    """

    def __init__(
        self, upstream: Upstream, address: _ServiceAddress, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._upstream = upstream
        self._address = address
        self._scope = scope
        self._receive = receive
        self._send = send
        self._chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        self._sent = asyncio.Event()
        self._feeding: asyncio.Task[None] | None = None
        self.response_started = False
        self.complete = False

    async def run(self) -> None:
        """Forward both directions concurrently: a replica may respond before it has read the whole body.

        Raises:
            ConnectionLostError: the replica ended before its response did.
        """
        self._upstream.begin(head_only=self._scope["method"] == "HEAD")
        first = await self._receive()
        if first["type"] == "http.disconnect":
            raise ConnectionLostError
        if not first.get("more_body", False):
            self._sent.set()
        await self._upstream.write(
            _request_head(self._scope, self._address, chunked=self._chunked) + self._framed(first)
        )
        # Most responses come immediately: watching the client earlier would only cost time.
        delay = 0.0 if first.get("more_body", False) else _WATCH_SECONDS
        watching = asyncio.get_running_loop().call_later(delay, self._start_feeding, first)
        try:
            await self._relay()
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
                    self._upstream.close()
                    return
                await self._upstream.write(self._framed(message))
            self._sent.set()
            await self._receive()
            self._upstream.close()
        except ConnectionLostError:
            return  # the other direction notices and handles it

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


def _request_head(scope: Scope, address: _ServiceAddress, *, chunked: bool) -> bytes:
    """Return the request line and headers for the replica. The service name alone maps to its health check at `/`."""
    raw_path: bytes = scope["raw_path"].partition(b"?")[0]
    rest = raw_path.lstrip(b"/").split(b"/", address.segments)[address.segments :]
    path = b"/%b/%b/%b" % ("/".join(PREFIX).encode(), address.name.encode(), rest[0]) if rest and rest[0] else b"/"
    if scope["query_string"]:
        path += b"?" + scope["query_string"]
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), path)]
    dropped = _HOP_BY_HOP | connection_options(scope["headers"])
    lines += [b"%b: %b" % header for header in scope["headers"] if header[0] not in dropped]
    if scope.get("client"):
        lines.append(b"x-forwarded-for: " + scope["client"][0].encode())
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"
