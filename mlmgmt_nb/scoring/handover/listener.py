"""The end of a replica: takes connections from the front door while the replica accepts connections, and then gives
them back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

from mlmgmt_nb.scoring.handover.channel import Handed, receive, send
from mlmgmt_nb.scoring.handover.connection import HandedConnection
from mlmgmt_nb.scoring.http.connection import Connection
from mlmgmt_nb.scoring.http.server import ReplicaServer

__all__ = ["HandoverListener"]

_RETRY_SECONDS = 0.02
_PASSING = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})


class HandoverListener:
    """The connections of a replica that came from the front door.

    Args:
        end: the end of the replicas.
        service: the name of the service.
        connection: the class of the connections.
    """

    def __init__(self, end: socket.socket, service: str, connection: type[HandedConnection]) -> None:
        self._end = end
        self._service = service
        self._class = connection
        self._is_open = False
        self._connecting: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()

    def open(self, server: ReplicaServer) -> None:
        """Take connections from now on; `server` limits and ends them like its own."""
        if not self._is_open:
            self._is_open = True
            self._connections = server.server_state.connections  # type: ignore[assignment]
            asyncio.get_running_loop().add_reader(self._end.fileno(), self._take, server)

    def close(self) -> None:
        """Take no more connections, and give all of them back, each after its current response."""
        if not self._is_open:
            return
        self._is_open = False
        asyncio.get_running_loop().remove_reader(self._end.fileno())
        for connection in list(self._connections):
            if isinstance(connection, HandedConnection):
                connection.go_back()

    def _take(self, server: ReplicaServer) -> None:
        try:
            handed = receive(self._end)
        except BlockingIOError:  # another replica was faster
            return
        if handed is None:  # the service was deleted
            self.close()
            return
        task = asyncio.get_running_loop().create_task(self._connect(handed, server))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, handed: Handed, server: ReplicaServer) -> None:
        connected = socket.socket(fileno=handed.descriptor)
        connected.setblocking(False)

        def make() -> HandedConnection:
            return self._class(
                server.config,
                server.server_state,
                server.lifespan.state,
                service=self._service,
                early=handed.data,
                give_back=self._give_back,
            )

        with contextlib.suppress(OSError):  # the caller hung up
            _, connection = await asyncio.get_running_loop().connect_accepted_socket(make, connected)
            if not self._is_open:
                connection.go_back()

    def _give_back(self, connection: HandedConnection, data: bytes) -> None:
        """Send a connection to the front door."""
        transport = connection.transport
        if transport.is_closing():
            return
        try:
            send(self._end, transport.get_extra_info("socket").fileno(), data)
        except OSError as error:
            if error.errno not in _PASSING:  # the service process has exited
                transport.close()
                return
            connection.flow.pause_reading()
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._give_back, connection, data)
        else:
            transport.abort()  # closes only the descriptor of this process
