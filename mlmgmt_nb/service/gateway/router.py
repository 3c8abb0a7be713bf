"""Splits the requests of a service between the deployment that serves and its candidate, during a canary or mirror.

The router takes the place of the replicas at the socket of their service: it accepts the connections, chooses a
deployment for each request, and forwards it to the private port of that deployment. During a mirror, copies of requests
also go to the candidate. Services without a canary or mirror do not use it. See
`.docs/explanation/decisions/canary.md`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, MutableMapping
from time import perf_counter
from typing import Any

import msgspec

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.connection import Connection
from mlmgmt_nb.scoring.http.server import ReplicaServer
from mlmgmt_nb.service.gateway.exchange import CallerLeftError, Exchange
from mlmgmt_nb.service.gateway.mirror import Copier, Copy, Mirrored
from mlmgmt_nb.service.gateway.places import Places
from mlmgmt_nb.service.gateway.pool import UpstreamPool
from mlmgmt_nb.service.gateway.side import Side
from mlmgmt_nb.service.gateway.split import Purpose, Split, choose, is_split
from mlmgmt_nb.service.gateway.upstream import ConnectionLostError
from mlmgmt_nb.service.http.messages import Receive, Scope, Send

__all__ = ["Router"]

_PATIENCE_SECONDS = 10.0
_DRAIN_SECONDS = 30.0
_COPIES_SECONDS = 5.0
"""Seconds to wait for the answers to copies at the end of a mirror."""
_RESULTS_SECONDS = 60.0
"""Seconds to keep the results of a mirror after its end."""


class Router:
    """The routed services, in a thread of its own that starts with the first one."""

    def __init__(self) -> None:
        self._apps: dict[str, _App] = {}
        self._released: dict[str, _App] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def is_routed(self, service_id: str) -> bool:
        """Return whether the requests of a service are split."""
        return service_id in self._apps

    def route(self, service_id: str, listener: socket.socket, split: Split) -> None:
        """Accept the connections of a service from now on.

        Args:
            listener: the socket of the service.
        """
        loop = self._started()
        app = self._apps[service_id] = _App(split, *listener.getsockname()[:2])
        sockets = {"service": listener.dup()}
        server = _Server(app, sockets, _PATIENCE_SECONDS, _Connection)  # type: ignore[arg-type]
        app.server = server
        asyncio.run_coroutine_threadsafe(server.run_until_drained(), loop)

    def taker(self, service_id: str) -> Callable[[socket.socket, bytes], bool]:
        """Return a function that takes a connection of a service, and the data that was read of its next request.

        It may be called from any thread, and returns False if the service is no longer routed.
        """

        def take(connected: socket.socket, data: bytes) -> bool:
            app, loop = self._apps.get(service_id), self._loop
            if app is None or loop is None:
                return False
            asyncio.run_coroutine_threadsafe(app.server.take(connected, data), loop)
            return True

        return take

    def split(self, service_id: str, split: Split | None) -> None:
        """Change the split of a routed service; None for no further requests to its candidate."""
        self._apps[service_id].renew(split)

    def sends_to(self, service_id: str, candidate_id: str) -> bool:
        """Return whether a candidate may still get requests."""
        app = self._apps.get(service_id)
        return app is not None and app.split.candidate == candidate_id

    def withdraw(self, service_id: str, candidate_id: str) -> None:
        """Send no further requests to a candidate, whatever split follows. It may be called from any thread."""
        if app := self._apps.get(service_id):
            app.withdraw(candidate_id)

    def release(self, service_id: str) -> None:
        """Stop accepting the connections of a service. Requests on existing connections go to the same replicas as
        those on new ones."""
        app, loop = self._apps.get(service_id), self._loop
        if app is not None and loop is not None:
            self._released[service_id] = app
            del self._apps[service_id]
            app.is_leaving = True
            loop.call_soon_threadsafe(self._drain, service_id, app)

    def _drain(self, service_id: str, app: _App) -> None:
        app.server.drain(_DRAIN_SECONDS)
        asyncio.get_running_loop().call_later(_RESULTS_SECONDS, self._forget, service_id, app)

    def _forget(self, service_id: str, app: _App) -> None:
        if self._released.get(service_id) is app:
            self._released.pop(service_id, None)

    def take_counts(self, service_id: str) -> tuple[Side, Side] | None:
        """Return the answers of both deployments since the last call, or None if the service is not routed."""
        app = self._apps.get(service_id)
        return None if app is None else app.take_counts()

    def take_mirrored(self, service_id: str, purpose: Purpose) -> Mirrored | None:
        """Return the results of copies since the last call, also for a moment after the end of a mirror. Return None if
        none follow.

        Args:
            purpose: what the copies are for.
        """
        app = self._apps.get(service_id) or self._released.get(service_id)
        return None if app is None else app.take_mirrored(purpose)

    def stop(self) -> None:
        """End all connections."""
        for service_id in list(self._apps):
            self.release(service_id)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = _new_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="router", daemon=True)
            self._thread.start()
        return self._loop


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Connection(Connection):
    """A connection of a caller."""

    received = b""
    """The data that was read before."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio sets this only for sockets with a named protocol; otherwise, responses in two parts take 40 ms more.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.received:
            self.data_received(self.received)


class _Server(ReplicaServer):
    """A server that also takes connections which were accepted elsewhere."""

    async def take(self, connected: socket.socket, received: bytes) -> None:
        """Continue with a connection.

        Args:
            received: the data that was read of its next request.
        """
        connection = _Connection(self.config, self.server_state, self.lifespan.state)
        connection.received = received
        self.connect(connected, connection)


class _App:
    """The ASGI application of one service: forwards each request to one of its deployments."""

    server: _Server

    def __init__(self, split: Split, host: str, port: int) -> None:
        self.split = split
        self.is_leaving = False
        self.draining = False
        self._port = port
        self._pool_of_service = UpstreamPool(host)
        self._pool = UpstreamPool("127.0.0.1")  # the deployments are on private ports
        self._owed = self._owed_copies = 0.0
        self._sides = (Side(), Side())
        self._sides_lock = threading.Lock()
        self._copier: Copier | None = None
        self._copier_compares = False
        self._places = Places()
        self._withdrawn: str | None = None

    def renew(self, split: Split | None) -> None:
        """Change the split; None for no further requests to the candidate."""
        if split is None or split.candidate == self._withdrawn:
            split = self.split._replace(share=0.0, mirrored=0.0)
        elif split.candidate != self.split.candidate:
            self.take_counts()  # they are about an earlier candidate
        self.split = split

    def withdraw(self, candidate_id: str) -> None:
        """Send no further requests to a candidate."""
        self._withdrawn = candidate_id
        if self.split.candidate == candidate_id:
            self.renew(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_new, self._owed = choose(self.split, scope, self._owed)
        copy = self._copy_of(is_new, scope, receive, send)
        if copy is not None:
            receive, send = copy.receive, copy.send
        if is_new:
            await self._answer(is_new, copy, scope, receive, send)
        else:
            async with self._places.caller(self.split.places):
                await self._answer(is_new, copy, scope, receive, send)

    async def _answer(self, is_new: bool, copy: Copy | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, count its answer, and offer a copy of it."""
        began = perf_counter()
        status: int | None = 502
        has_asked = True

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._forward(*self._upstream(is_new), scope, receive, sent)
        except ConnectionLostError:
            status = 502  # the answer has begun: the only remaining signal is to leave it incomplete
        except CallerLeftError as error:
            has_asked = error.has_asked
            status = status if error.has_response else None
        finally:
            seconds = perf_counter() - began
            if has_asked and is_split(scope):
                with self._sides_lock:
                    self._sides[is_new].add(status, seconds)
            if copy is not None and self._copier is not None:
                copy.seconds = seconds
                self._copier.offer(copy)

    def _upstream(self, is_new: bool) -> tuple[UpstreamPool, int]:
        """Return the connections and the port for a request."""
        if self.is_leaving:
            return self._pool_of_service, self._port
        return self._pool, self.split.new_port if is_new else self.split.old_port

    def _copy_of(self, is_new: bool, scope: Scope, receive: Receive, send: Send) -> Copy | None:
        """Return a copy to be made of a request for the other deployment, if it is mirrored or compared."""
        share = self.split.mirrored
        is_mirrored, self._owed_copies = choose(Split(0, 0, share), scope, self._owed_copies)
        if self.is_leaving or not ((is_new and self.split.compares) or is_mirrored):
            return None
        split = self.split
        is_same = self._copier_compares == split.compares
        if self._copier is not None and not (is_same and self._copier.purpose == split.purpose):
            self._copier.stop()
            self._copier = None
        if self._copier is None:
            self._copier, self._copier_compares = Copier(self._copy, split.redact, split.purpose), split.compares
        return Copy(scope, receive, send)

    async def _copy(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.split.compares:
            await self._forward(self._pool, self.split.new_port, scope, receive, send)
            return
        async with self._places.copy(self.split.places):
            await self._forward(self._pool, self.split.old_port, scope, receive, send)

    async def _forward(self, pool: UpstreamPool, port: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request.

        Raises:
            CallerLeftError: the caller disconnected before its answer was complete.
            ConnectionLostError: the replica ended during its answer.
        """
        try:
            upstream = await pool.take(port)
        except OSError:
            await _refuse(send, 503, "NoReplicas", "No replica listens. Try again.")
            return
        target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        exchange = Exchange(upstream, target, scope, receive, send)
        try:
            await exchange.run()
        except ConnectionLostError:
            if exchange.response_started:
                raise
            await _refuse(send, 502, "ReplicaLost", "The replica ended before it responded. Try again.")
        finally:
            pool.release(upstream, port, reusable=exchange.complete)

    def take_mirrored(self, purpose: Purpose) -> Mirrored | None:
        """Return the results of copies since the last call; None if none follow."""
        copier = self._copier
        if copier is None or copier.purpose != purpose:
            return None if self.is_leaving else Mirrored()
        return copier.take()

    def take_counts(self) -> tuple[Side, Side]:
        """Return the answers of both deployments since the last call."""
        with self._sides_lock:
            counted, self._sides = self._sides, (Side(), Side())
        return counted

    # the interface of an application that a server of replicas uses

    def drain(self) -> None:
        """Let each response from now on close its connection, and make no further copies."""
        self.draining = True
        if self._copier is not None:
            self._copier.finish(_COPIES_SECONDS)

    def abandon(self) -> int:
        """Give up no request: the replicas end theirs in time."""
        return 0

    def head_start(self, coming: int) -> float:  # noqa: ARG002 - of a server of replicas
        """Accept each connection at once: nothing else accepts them while requests are split."""
        return 0.0

    def on_disconnect(self, scope: Scope) -> None:
        """Do nothing: the exchange notices it by itself."""

    def refusal(self, error: RequestError) -> bytes:
        """Return the body of the answer to data that the connection refuses before it is a request."""
        return msgspec.json.encode({"code": error.code, "message": error.message, "statusCode": error.status})


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = msgspec.json.encode({"code": code, "message": message, "statusCode": status})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
