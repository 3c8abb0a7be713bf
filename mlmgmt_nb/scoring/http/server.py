"""Run uvicorn on listening sockets shared with other processes, with a drain that loses no request.

uvicorn's own shutdown closes connections whose first request is still in progress. Here, listening sockets are closed
first; requests that still arrive on open connections are answered with `Connection: close`; only idle connections are
closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple, Protocol

import uvicorn

from mlmgmt_nb.scoring.calls.admission import log
from mlmgmt_nb.scoring.http.acceptor import Acceptor
from mlmgmt_nb.scoring.http.app import ScoringApp
from mlmgmt_nb.scoring.http.connection import SILENT_SECONDS, Connection

__all__ = ["OtherListener", "ReplicaServer"]

_IDLE_SECONDS = 2.0
"""How long a drain leaves an idle connection open: its next request may be on the way."""
_TICK_SECONDS = 0.02
_LAST_TICKS = 10
_CHECK_SECONDS = 0.5


class OtherListener(Protocol):
    """A source of connections that were accepted elsewhere. It is open while the server accepts those of its
    service."""

    def open(self, server: ReplicaServer) -> None: ...

    def close(self) -> None: ...


class _Open(NamedTuple):
    """A socket at which connections are accepted."""

    listener: socket.socket
    acceptor: Acceptor

    def close(self) -> None:
        self.acceptor.close()
        self.listener.close()


class ReplicaServer(uvicorn.Server):
    """A server of one application that runs until it is drained.

    Args:
        app: the application.
        sockets: bound and listening TCP sockets by name, its own first; the drain closes them. Connections are accepted
            at its own and at `private`.
        patience: seconds that a caller may take for the head of a request, and for a part of an answer.
        connection: the class of its connections.
        other: a source of further connections.
    """

    def __init__(
        self,
        app: ScoringApp,
        sockets: Mapping[str, socket.socket],
        patience: float,
        connection: type[Connection] = Connection,
        other: OtherListener | None = None,
    ) -> None:
        self._app = app
        self._sockets = dict(sockets)
        self._open: dict[str, _Open] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._patience = patience
        self._connection_class = connection
        self._other = other
        self._checked = monotonic()
        self._accepting = asyncio.Event()
        self._drain_seconds = 30.0
        self._idle_seconds = _IDLE_SECONDS
        self._drain_began = 0.0
        self.drained = True
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http=connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(SILENT_SECONDS),
        )
        super().__init__(config)

    async def run_until_drained(self) -> bool:
        """Serve until drained; return whether every request in flight was answered."""
        await self.serve(sockets=[])
        return self.drained

    async def wait_accepting(self) -> None:
        """Wait until connections are accepted."""
        await self._accepting.wait()

    async def accept(self, names: Collection[str]) -> None:
        """Accept connections at these sockets only. Those of the others end after their next response."""
        for name in names:
            if name in self._sockets and name not in self._open and not self.should_exit:
                self._enter(name)
        for name in [opened for opened in self._open if opened not in names]:
            self._leave(name)
        if self._other is not None:
            (self._other.open(self) if "service" in self._open else self._other.close())

    def _enter(self, name: str) -> None:
        """Accept connections at a socket."""
        listener = self._sockets[name].dup()
        listener.listen(self.config.backlog)
        listener.setblocking(False)
        accept = partial(self._accept, name, listener)
        self._open[name] = _Open(listener, Acceptor(listener.fileno(), accept, self._app.head_start))

    def _accept(self, name: str, listener: socket.socket) -> Connection:
        connected, _ = listener.accept()
        # Otherwise responses in two parts take 40 ms more.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._connection_class(self.config, self.server_state, self.lifespan.state)
        self.connect(connected, connection).add_done_callback(lambda _: self._connected(name, connection))
        return connection

    def _connected(self, name: str, connection: Connection) -> None:
        """End a connection whose socket was left while it was connected."""
        if name not in self._open and connection in self.server_state.connections:
            _leave([connection])

    def connect(self, connected: socket.socket, connection: Connection) -> asyncio.Task[None]:
        """Serve a connection that was accepted. The drain waits for it, too."""
        connected.setblocking(False)
        task = asyncio.get_running_loop().create_task(_connect(connected, connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    def head_start(self, coming: int) -> float:
        """Return the seconds for which other replicas may accept a connection first; see `Admission.head_start`."""
        return self._app.head_start(coming)

    def _leave(self, name: str) -> None:
        """Accept no more connections at a socket. The socket of a candidate is closed, because no other process has
        it."""
        self._open.pop(name).close()
        port = self._sockets[name].getsockname()[1]
        if name == "candidate":
            self._sockets.pop(name).close()
        connections = [known for known in self.server_state.connections if isinstance(known, Connection)]
        _leave([connection for connection in connections if connection.port == port])

    def drain(self, seconds: float, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        """Begin the drain; a later call can only shorten it.

        Args:
            seconds: after this time, requests still in flight are given up.
            idle_seconds: after this time, idle connections are closed.
        """
        if self._app.draining:
            seconds, idle_seconds = min(seconds, self._drain_seconds), min(idle_seconds, self._idle_seconds)
        self._app.drain()
        self._drain_seconds, self._idle_seconds = seconds, idle_seconds
        self._drain_began = monotonic()
        self._close_sockets()
        if self._other is not None:
            self._other.close()
        self.should_exit = True

    def _close_sockets(self) -> None:
        """Accept what waits, and close all sockets at once: a connection at an open one would be lost later."""
        for opened in self._open.values():
            opened.acceptor.accept_waiting()
            opened.close()
        self._open.clear()
        for listener in self._sockets.values():
            listener.close()

    def descriptors(self) -> list[int]:
        """Return the sockets of open connections, and those at which it accepts connections."""
        transports = [connection.transport for connection in list(self.server_state.connections)]
        sockets = [transport.get_extra_info("socket") for transport in transports]
        sockets += [opened.listener for opened in self._open.values()]
        return [connected.fileno() for connected in sockets if connected is not None]

    # hooks that uvicorn calls

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        await self.accept({next(iter(self._sockets)), "private"})
        self._accepting.set()

    async def on_tick(self, counter: int) -> bool:
        if monotonic() - self._checked >= _CHECK_SECONDS:
            self._check_connections()
        return await super().on_tick(counter)

    def _check_connections(self) -> None:
        """End the connections of slow callers, and log their number."""
        self._checked = monotonic()
        faults: Counter[str] = Counter()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                faults[connection.check(self._checked, self._patience)] += 1
        for fault, count in faults.items():
            if fault:
                log(f"slow callers: {fault} within {self._patience:g} seconds: {count} connection(s) closed")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - of uvicorn
        while self.server_state.connections or self.server_state.tasks or self._connecting:
            elapsed = monotonic() - self._drain_began
            if elapsed >= self._drain_seconds:
                self.drained = self._app.abandon() == 0
                await asyncio.sleep(_TICK_SECONDS)  # requests without a task get one for their refusal
                break
            if elapsed >= self._idle_seconds:
                self._close_idle()
            self._check_connections()
            await asyncio.sleep(_TICK_SECONDS)
        self._close_idle()
        for _ in range(_LAST_TICKS):  # let the last answers be sent
            if self.server_state.tasks:
                await asyncio.sleep(_TICK_SECONDS)

    def _close_idle(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.shutdown()  # closes it when idle, else after the answer


async def _connect(connected: socket.socket, connection: Connection) -> None:
    with contextlib.suppress(OSError):  # the caller hung up
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, connected)


def _leave(connections: Sequence[Connection]) -> None:
    """Let connections end after their next response, or if they stay idle."""
    for connection in connections:
        connection.leave()
    asyncio.get_running_loop().call_later(_IDLE_SECONDS, _close_all, connections)


def _close_all(connections: Iterable[Connection]) -> None:
    for connection in connections:
        if not connection.transport.is_closing():
            connection.shutdown()  # closes it when idle, else after the answer
