"""Local compute: replicas are processes of this machine that share their service's listening socket.

The socket belongs to the service and is bound here once; replicas inherit it. So a replica can die, be replaced or be
updated and no connection is refused: while none lives, connections wait at the socket.
"""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

import psutil

from mlmgmt_nb.service.compute.base import Capacity, Counters, Exit, Launch, Load
from mlmgmt_nb.service.compute.refusal import refuse
from mlmgmt_nb.service.compute.replica import ReplicaProcess
from mlmgmt_nb.service.reconciler import Replica, ReplicaState

__all__ = ["LocalCompute", "ProcessRegister", "end_process"]

_BACKLOG = 1024
_BYTES_OF_A_REPLICA = 256 * 2**20
"""What a replica is reckoned to take at least: the runtime, and a driver that has imported its libraries."""


class ProcessRegister(Protocol):
    """Remembers processes across a crash of the service."""

    def add(self, pid: int, started: str, service_id: str) -> None: ...

    def remove(self, pid: int) -> None: ...


class LocalCompute:
    """Replicas as processes.

    Args:
        host: the address that scoring services listen on.
        ports: first and last port to choose from.
        register: told of each process that starts and ends.
        on_change: called from any thread when there is something new to observe.
    """

    def __init__(
        self, host: str, ports: tuple[int, int], register: ProcessRegister, on_change: Callable[[], None]
    ) -> None:
        self._host = host
        self._ports = ports
        self._register = register
        self._on_change = on_change
        self._lock = threading.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._replicas: dict[str, ReplicaProcess] = {}
        self._exits: list[Exit] = []
        self._counted: dict[str, Counters] = {}
        self._numbers = itertools.count(1)

    def capacity(self) -> Capacity:
        memory = psutil.virtual_memory().total
        return Capacity(
            cpus=float(os.cpu_count() or 1), memory_bytes=memory, replicas=max(4, memory // _BYTES_OF_A_REPLICA)
        )

    def open(self, service_id: str, port: int | None) -> int:
        bound = _bind(self._host, port) if port is not None else self._bind_any(service_id)
        bound.listen(_BACKLOG)
        with self._lock:
            self._sockets[service_id] = bound
        return int(bound.getsockname()[1])

    def _bind_any(self, service_id: str) -> socket.socket:
        # Begins somewhere else for each service: a port that one gave up for a while should not go to the next.
        first, last = self._ports
        count = last - first + 1
        offset = zlib.crc32(service_id.encode())
        for step in range(count):
            try:
                return _bind(self._host, first + (offset + step) % count)
            except OSError:
                continue
        raise OSError(f"no port from {first} to {last} is free")

    def is_open(self, service_id: str) -> bool:
        return service_id in self._sockets

    def start(self, launch: Launch) -> None:
        number = str(next(self._numbers))
        launch.log.line(f"[mlmgmt] replica {number} starts")
        replica = ReplicaProcess(number, launch, self._sockets[launch.service_id], self._changed)
        self._register.add(replica.pid, _started(replica.pid), launch.service_id)
        with self._lock:
            self._replicas[number] = replica
        replica.watch()

    def _changed(self, replica: ReplicaProcess) -> None:
        if replica.ended:
            with self._lock:
                del self._replicas[replica.id]
                service_id = replica.launch.service_id
                self._counted[service_id] = self._counted.get(service_id, Counters()) + replica.counters
                if replica.exit is not None:
                    self._exits.append(replica.exit)
            self._register.remove(replica.pid)
        self._on_change()

    def drain(self, replica_id: str, seconds: float) -> None:
        if replica := self._replicas.get(replica_id):
            replica.drain(seconds)

    def kill(self, replica_id: str, *, hung: bool) -> None:
        if replica := self._replicas.get(replica_id):
            replica.kill(hung=hung)

    def set_keys(self, service_id: str, digests: Sequence[str], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        confirmations = [replica.set_keys(digests) for replica in self._of(service_id)]
        return all(event.wait(max(0.0, deadline - time.monotonic())) for event in confirmations)

    def replicas(self) -> list[Replica]:
        with self._lock:
            return [replica.view() for replica in self._replicas.values()]

    def exits(self) -> list[Exit]:
        with self._lock:
            exits, self._exits = self._exits, []
        return exits

    def load(self, service_id: str) -> Load:
        ready = [replica for replica in self._of(service_id) if replica.state is ReplicaState.READY]
        return Load(sum(r.busy for r in ready), sum(r.launch.slots for r in ready))

    def counters(self, service_id: str) -> Counters:
        living = [replica.counters for replica in self._of(service_id)]
        with self._lock:
            return sum(living, self._counted.get(service_id, Counters()))

    def knocked(self, service_id: str) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sockets[service_id], selectors.EVENT_READ)
            return bool(selector.select(timeout=0))

    def refuse(self, service_id: str, message: str) -> None:
        while self.knocked(service_id):
            connection, _ = self._sockets[service_id].accept()
            threading.Thread(target=refuse, args=(connection, message), name="refusal", daemon=True).start()

    def close(self, service_id: str) -> None:
        with self._lock:
            listener = self._sockets.pop(service_id, None)
            self._counted.pop(service_id, None)
        if listener is not None:
            listener.close()

    def stop(self, seconds: float) -> None:
        for listener in self._sockets.values():
            listener.close()
        self._sockets.clear()
        replicas = list(self._replicas.values())
        for replica in replicas:
            replica.drain(seconds)
        deadline = time.monotonic() + seconds + 1
        for replica in replicas:
            if not replica.join(max(0.0, deadline - time.monotonic())):
                replica.kill()
                replica.join(5)

    def _of(self, service_id: str) -> list[ReplicaProcess]:
        with self._lock:
            return [replica for replica in self._replicas.values() if replica.launch.service_id == service_id]


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # After a crash, old connections must not keep the port from being used again.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _started(pid: int) -> str:
    """When a process started: with its pid, that names it for good."""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return ""


def end_process(pid: int, started: str) -> bool:
    """Ends a replica that an earlier service left behind, with all that it started; True if it was still there."""
    now_started = _started(pid)
    # The system's clock may have been set meanwhile, by a little.
    if not started or not now_started or abs(float(now_started) - float(started)) > 2:
        return False
    try:
        os.killpg(pid, 9)
        psutil.Process(pid).wait(5)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    return True
