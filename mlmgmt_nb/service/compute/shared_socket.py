"""Common base of computes whose replicas share the listening socket of their service.

The socket belongs to the service and is bound once; replicas receive it. So a replica can die, be replaced or be
updated without a refused connection: without replicas, connections wait at the socket.

The kernel gives a connection to any replica that accepts it, and callers keep connections open, so one replica may have
all of them while another is idle. The busiest replica is then told to close some after their next response; their
callers connect again, perhaps to the same replica, so this repeats until the loads are similar.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from mlmgmt_nb.service.compute.base import Capacity, Exit, Launch
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.compute.measures import Counters, Load
from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.compute.supervised_replica import SupervisedReplica
from mlmgmt_nb.service.files.logs import Log

__all__ = ["SharingCompute", "connections_to_move"]

_LEAST_DIFFERENCE = 1.5
"""Difference in calls below which moving a connection would only swap the busier and the idler replica."""
_SETTLE_SECONDS = 2.5
"""Seconds until reports of the replicas show the effect of a move: each covers one second."""

R = TypeVar("R", bound=SupervisedReplica)


class SharingCompute(ABC, Generic[R]):
    """A compute (see `base.Compute`), except for the creation of replicas.

    Args:
        prefix: prefix of the ids of its replicas.
        listeners: the sockets of its services.
        on_change: called from any thread when there is something new to observe.
    """

    def __init__(self, prefix: str, listeners: Listeners, on_change: Callable[[], None]) -> None:
        self._prefix = prefix
        self._listeners = listeners
        self._on_change = on_change
        self._lock = threading.Lock()
        self._replicas: dict[str, R] = {}
        self._exits: list[Exit] = []
        self._counted: dict[str, Counters] = {}
        self._numbers = itertools.count(1)

    @abstractmethod
    def capacity(self) -> Capacity: ...

    @abstractmethod
    def _make(self, replica_id: str, launch: Launch, sockets: Mapping[str, socket.socket]) -> R:
        """Start a replica.

        Args:
            sockets: listening sockets by name, as `scoring.process.control.Start` describes them; the first is that of
                its service or candidate.

        Raises:
            OSError: it cannot be started.
        """

    def _forget(self, replica: SupervisedReplica) -> None:
        """Handle the end of a replica."""

    def open(self, service_id: str, port: int | None) -> int:
        return self._listeners.open(service_id, port)

    def is_open(self, service_id: str) -> bool:
        return service_id in self._listeners

    def start(self, launch: Launch) -> None:
        replica_id = f"{self._prefix}{next(self._numbers)}"
        launch.log.line(f"[mlmgmt] replica {replica_id} starts")
        replica = self._make(replica_id, launch, self._sockets(launch))
        with self._lock:
            self._replicas[replica_id] = replica
        replica.watch()

    def _sockets(self, launch: Launch) -> dict[str, socket.socket]:
        """Return the sockets of a replica by name, its own first."""
        private = self._listeners.private(launch.service_id, launch.deployment_id)
        own = self._listeners[launch.service_id]
        if launch.candidate_of is None:
            return {"service": own, "private": private}
        return {"candidate": own, "private": private, "service": self._listeners[launch.candidate_of]}

    def adopt(self, replica_id: str, service_id: str, deployment_id: str, log: Log) -> None:
        if replica := self._replicas.get(replica_id):
            old = (replica.launch.service_id, replica.launch.deployment_id)
            self._listeners.share_private(old, (service_id, deployment_id))
            replica.adopt(service_id, deployment_id, log)

    def socket_of(self, service_id: str) -> socket.socket:
        return self._listeners[service_id]

    def private_port(self, service_id: str, deployment_id: str) -> int | None:
        return self._listeners.private_port(service_id, deployment_id)

    def show(self, replica_id: str, *, at_service: bool) -> None:
        if replica := self._replicas.get(replica_id):
            replica.open(at_service=at_service)

    def keep(self, replica_id: str) -> None:
        if replica := self._replicas.get(replica_id):
            replica.keep()

    def forget_deployments(self, service_id: str, kept: Container[str]) -> None:
        self._listeners.close_private(service_id, kept)

    def _changed(self, replica: SupervisedReplica) -> None:
        if replica.ended:
            with self._lock:
                del self._replicas[replica.id]
                service_id = replica.launch.service_id
                self._counted[service_id] = self._counted.get(service_id, Counters()) + replica.counted
                if replica.exit is not None:
                    self._exits.append(replica.exit)
            self._forget(replica)
        else:
            self._balance(replica.launch.service_id)
        self._on_change()

    def _balance(self, service_id: str) -> None:
        with self._lock:
            found = _unbalanced(r for r in self._replicas.values() if r.launch.service_id == service_id)
        if found is not None:
            replica, count = found
            replica.move_connections(count)

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
            return [replica.snapshot() for replica in self._replicas.values()]

    def exits(self) -> list[Exit]:
        with self._lock:
            exits, self._exits = self._exits, []
        return exits

    def load(self, service_id: str) -> Load:
        ready = [replica for replica in self._of(service_id) if replica.state is ReplicaState.READY]
        return Load(sum(r.busy for r in ready), sum(r.launch.slots for r in ready), sum(r.occupied for r in ready))

    def memory(self, service_id: str) -> int:
        return sum(replica.memory() or 0 for replica in self._of(service_id))

    def counters(self, service_id: str) -> Counters:
        living = [replica.counted for replica in self._of(service_id)]
        with self._lock:
            return sum(living, self._counted.get(service_id, Counters()))

    def states(self, service_id: str) -> Mapping[ReplicaState, int]:
        return Counter(replica.state for replica in self._of(service_id))

    def has_pending_connection(self, service_id: str) -> bool:
        return self._listeners.has_pending_connection(service_id)

    def connected(self) -> set[str]:
        return self._listeners.connected()

    def refuse(self, service_id: str, message: str) -> None:
        self._listeners.refuse(service_id, message)

    def close(self, service_id: str) -> None:
        self._listeners.close(service_id)
        with self._lock:
            self._counted.pop(service_id, None)

    def stop(self, seconds: float) -> None:
        self._listeners.close_all()
        with self._lock:
            replicas = list(self._replicas.values())
        for replica in replicas:
            replica.drain(seconds)
        deadline = time.monotonic() + seconds + 1
        for replica in replicas:
            if not replica.join(max(0.0, deadline - time.monotonic())):
                replica.kill()
                replica.join(5)

    def _of(self, service_id: str) -> list[R]:
        with self._lock:
            return [replica for replica in self._replicas.values() if replica.launch.service_id == service_id]


def connections_to_move(most: float, least: float) -> int:
    """Return how many connections the busiest replica gives up.

    Args:
        most: mean number of calls of the busiest replica during the last second.
        least: mean number of calls of the least busy replica.
    """
    difference = most - least
    return int(difference / 2 + 0.25) if difference >= _LEAST_DIFFERENCE else 0


def _unbalanced(replicas: Iterable[SupervisedReplica]) -> tuple[SupervisedReplica, int] | None:
    """Return the replica of a service that gives up connections, and how many, or None.

    Its other replicas then give up none for a while.
    """
    ready = [replica for replica in replicas if replica.state is ReplicaState.READY]
    now = time.monotonic()
    if len(ready) < 2 or any(now - replica.balanced < _SETTLE_SECONDS for replica in ready):
        return None
    busiest = max(ready, key=lambda replica: replica.occupied)
    count = connections_to_move(busiest.occupied, min(replica.occupied for replica in ready))
    if not count or not busiest.moves_connections:
        return None
    for replica in ready:
        replica.balanced = now
    return busiest, count
