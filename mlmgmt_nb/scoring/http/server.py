"""Run uvicorn on a listening socket shared with other processes, with a drain that loses no request.

uvicorn's own shutdown closes connections whose first request is still in progress. Here, the listening socket is closed
first; requests that still arrive on open connections are answered with `Connection: close`; only idle connections are
closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from time import monotonic

import uvicorn

from mlmgmt_nb.scoring.calls.admission import log
from mlmgmt_nb.scoring.http.app import ScoringApp
from mlmgmt_nb.scoring.http.connection import SILENT_SECONDS, Connection

__all__ = ["ReplicaServer"]

_IDLE_SECONDS = 2.0
"""How long a drain leaves an idle connection open: its next request may be on the way."""
_TICK_SECONDS = 0.02
_LAST_TICKS = 10
_CHECK_SECONDS = 0.5


class ReplicaServer(uvicorn.Server):
    """A server of one application that runs until it is drained.

    Args:
        app: the application.
        listener: a bound and listening TCP socket; the drain closes it.
        patience: seconds that a caller may take for the head of a request, and for a part of an answer.
        connection: the class of its connections.
    """

    def __init__(
        self, app: ScoringApp, listener: socket.socket, patience: float, connection: type[Connection] = Connection
    ) -> None:
        self._app = app
        self._listener = listener
        self._patience = patience
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
        await self.serve(sockets=[self._listener])
        return self.drained

    async def wait_accepting(self) -> None:
        """Wait until connections are accepted."""
        await self._accepting.wait()

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
        for server in getattr(self, "servers", []):
            server.close()
        self.should_exit = True

    def descriptors(self) -> list[int]:
        """Return the sockets of open connections."""
        transports = [connection.transport for connection in list(self.server_state.connections)]
        sockets = [transport.get_extra_info("socket") for transport in transports]
        return [connected.fileno() for connected in sockets if connected is not None]

    # hooks that uvicorn calls

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or []:
            listener.close()
        while self.server_state.connections or self.server_state.tasks:
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
