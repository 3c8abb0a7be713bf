"""The listening sockets of services: bound once, shared by their replicas, kept even without replicas."""

from __future__ import annotations

import selectors
import socket
import threading
import zlib
from collections.abc import Callable, Container

from mlmgmt_nb.service.compute.socket_watch import ConnectionWatch
from mlmgmt_nb.service.compute.unavailable import refuse
from mlmgmt_nb.service.system.sockets import bind

__all__ = ["Listeners"]

_BACKLOG = 1024
_REFUSED_AT_ONCE = 64
"""Maximum number of connections that are refused concurrently; others wait for their turn."""


class Listeners:
    """The sockets, by service id.

    Args:
        host: the address that scoring services listen on.
        ports: first and last port to choose from.
        on_connection: called from any thread when a connection arrives at a socket that had none.
    """

    def __init__(self, host: str, ports: tuple[int, int], on_connection: Callable[[], None]) -> None:
        self._host = host
        self._ports = ports
        self._sockets: dict[str, socket.socket] = {}
        self._private: dict[str, dict[str, socket.socket]] = {}
        self._on_connection = on_connection
        self._watch = ConnectionWatch(self._connected)
        self._connected_ids: set[str] = set()
        self._lock = threading.Lock()
        self._refusing = threading.BoundedSemaphore(_REFUSED_AT_ONCE)

    def __contains__(self, service_id: str) -> bool:
        return service_id in self._sockets

    def __getitem__(self, service_id: str) -> socket.socket:
        return self._sockets[service_id]

    def open(self, service_id: str, port: int | None) -> int:
        """Bind the given port, or a free one, and return it; connections wait there from now on.

        Raises:
            OSError: the given port is taken, or no port is free.
        """
        bound = bind(self._host, port) if port is not None else self._bind_any(service_id)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
        self._sockets[service_id] = bound
        return int(bound.getsockname()[1])

    def private(self, service_id: str, deployment_id: str) -> socket.socket:
        """Return the socket of a deployment itself, which only this machine reaches. It is opened at the first use."""
        of_service = self._private.setdefault(service_id, {})
        if deployment_id not in of_service:
            bound = bind("127.0.0.1", 0)
            bound.listen(_BACKLOG)
            bound.setblocking(False)
            of_service[deployment_id] = bound
        return of_service[deployment_id]

    def private_port(self, service_id: str, deployment_id: str) -> int | None:
        """Return the port of the socket of a deployment itself, or None if it is not open."""
        bound = self._private.get(service_id, {}).get(deployment_id)
        return None if bound is None else int(bound.getsockname()[1])

    def share_private(self, old: tuple[str, str], new: tuple[str, str]) -> None:
        """Let the socket of a deployment also be that of another one, which takes over its replicas.

        Args:
            old, new: ids of the services and of their deployments.
        """
        shared = self._private.get(old[0], {}).get(old[1])
        of_service = self._private.setdefault(new[0], {})
        if shared is not None and new[1] not in of_service:
            of_service[new[1]] = shared.dup()

    def close_private(self, service_id: str, kept: Container[str]) -> None:
        """Close the sockets of the deployments of a service, except for some."""
        of_service = self._private.get(service_id, {})
        for deployment_id in [known for known in of_service if known not in kept]:
            of_service.pop(deployment_id).close()

    def _bind_any(self, service_id: str) -> socket.socket:
        # Each service starts at another port: a port that a service gave up temporarily should not go to the next one.
        first, last = self._ports
        count = last - first + 1
        offset = zlib.crc32(service_id.encode())
        for step in range(count):
            try:
                return bind(self._host, first + (offset + step) % count)
            except OSError:
                continue
        raise OSError(f"no port from {first} to {last} is free")

    def has_pending_connection(self, service_id: str) -> bool:
        """Return whether a connection waits. If none does, watch the socket; `connected()` reports it later."""
        if self._watch.is_armed(service_id):
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._sockets[service_id], selectors.EVENT_READ)
            if selector.select(timeout=0):
                return True
        self._watch.arm(service_id, self._sockets[service_id])
        return False

    def connected(self) -> set[str]:
        """Return the services that received a connection while they were watched, since the last call."""
        with self._lock:
            found, self._connected_ids = self._connected_ids, set()
        return found

    def _connected(self, service_id: str) -> None:
        with self._lock:
            self._connected_ids.add(service_id)
        self._on_connection()

    def refuse(self, service_id: str, message: str) -> None:
        """Answer 503 to waiting requests, as many as can be answered concurrently."""
        while self.has_pending_connection(service_id):
            if not self._refusing.acquire(blocking=False):
                with self._lock:
                    self._connected_ids.add(service_id)  # checked again after the next refusal
                return
            try:
                connection, _ = self._sockets[service_id].accept()
            except OSError:  # the client disconnected
                self._refusing.release()
                return
            connection.setblocking(True)
            threading.Thread(target=self._refuse, args=(connection, message), name="refusal", daemon=True).start()

    def _refuse(self, connection: socket.socket, message: str) -> None:
        try:
            refuse(connection, message)
        finally:
            self._refusing.release()
            if self._connected_ids:
                self._on_connection()

    def close(self, service_id: str) -> None:
        """Close the sockets of a service. The computes share them, and several may close them at the same time."""
        self._watch.disarm(service_id)
        for bound in self._private.pop(service_id, {}).values():
            bound.close()
        listener = self._sockets.pop(service_id, None)
        if listener is not None:
            listener.close()

    def close_all(self) -> None:
        for service_id in list(self._sockets):
            self.close(service_id)
