"""The end of a replica: takes connections from the front door while the replica accepts connections, and then gives
them back."""

from __future__ import annotations

import asyncio
import errno
import socket
from functools import partial

from mlmgmt_nb.scoring.handover.channel import receive, send
from mlmgmt_nb.scoring.handover.connection import HandedConnection
from mlmgmt_nb.scoring.http.acceptor import Acceptor
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
        self._acceptor: Acceptor | None = None
        self._connections: set[Connection] = set()

    def open(self, server: ReplicaServer) -> None:
        """Take connections from now on; `server` limits and ends them like its own."""
        if self._acceptor is None:
            self._connections = server.server_state.connections  # type: ignore[assignment]
            self._acceptor = Acceptor(self._end.fileno(), partial(self._take, server), server.head_start)

    def close(self) -> None:
        """Take no more connections, and give all of them back, each after its current response."""
        if self._acceptor is None:
            return
        self._acceptor.close()
        self._acceptor = None
        for connection in list(self._connections):
            if isinstance(connection, HandedConnection):
                connection.go_back()

    def _take(self, server: ReplicaServer) -> HandedConnection | None:
        handed = receive(self._end)
        if handed is None:  # the service was deleted
            self.close()
            return None
        connection = self._class(
            server.config,
            server.server_state,
            server.lifespan.state,
            service=self._service,
            early=handed.data,
            give_back=self._give_back,
        )
        connecting = server.connect(socket.socket(fileno=handed.descriptor), connection)
        connecting.add_done_callback(lambda _: None if self._acceptor else connection.go_back())
        return connection

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
