"""Local compute: replicas are processes of this machine that inherit the listening socket of their service."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import psutil

from mlmgmt_nb.scoring.process.control import HANDED
from mlmgmt_nb.service.compute.base import Capacity, Launch
from mlmgmt_nb.service.compute.cgroups import find_groups
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.compute.observed import ReplicaState
from mlmgmt_nb.service.compute.processes.replica import ReplicaProcess
from mlmgmt_nb.service.compute.processes.spares import Spares
from mlmgmt_nb.service.compute.processes.starting import start_replica
from mlmgmt_nb.service.compute.shared_socket import SharingCompute
from mlmgmt_nb.service.compute.supervised_replica import SupervisedReplica
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.gateway.handover import HandoverChannel, HandoverChannels

__all__ = ["LocalCompute", "ProcessRegister", "replicas_for"]

_BYTES_OF_A_REPLICA = 256 * 2**20
"""Estimated minimum memory of a replica: the runtime, and a driver that has imported its libraries."""


class ProcessRegister(Protocol):
    """Records processes so that they are known after a crash of the service. Failures are logged, not raised."""

    def add(self, pid: int, service_id: str) -> None: ...

    def remove(self, pid: int) -> None: ...


class LocalCompute(SharingCompute[ReplicaProcess]):
    """Replicas as processes.

    Args:
        listeners, on_change: see `SharingCompute`.
        register: notified of each process that starts and ends.
        marks: environment variables of each replica, which identify leftover processes for a later service.
        spares: processes for warm starts.
        channels: the channels from which replicas take connections of the front door.
    """

    def __init__(
        self,
        listeners: Listeners,
        register: ProcessRegister,
        on_change: Callable[[], None],
        marks: Mapping[str, str],
        spares: Spares,
        channels: HandoverChannels,
    ) -> None:
        super().__init__("", listeners, on_change)
        self._register = register
        self._marks = marks
        self._spares = spares
        self._channels = channels
        self._groups = find_groups()

    def capacity(self) -> Capacity:
        memory = psutil.virtual_memory().total
        return Capacity(cpus=float(os.cpu_count() or 1), memory_bytes=memory, replicas=replicas_for(memory))

    def handover_channel(self, service_id: str) -> HandoverChannel | None:
        """Return the channel from which replicas of a service take connections of the front door, or None if none does
        now."""
        is_taking = any(
            replica.state is ReplicaState.READY and replica.is_open and replica.takes_connections
            for replica in self._of(service_id)
        )
        return self._channels.of(service_id) if is_taking else None

    def _sockets(self, launch: Launch) -> dict[str, socket.socket]:
        sockets = super()._sockets(launch)
        if self._channels.is_enabled:
            sockets[HANDED] = self._channels.of(launch.candidate_of or launch.service_id).of_replicas
        return sockets

    def close(self, service_id: str) -> None:
        super().close(service_id)
        self._channels.close(service_id)

    def _make(self, replica_id: str, launch: Launch, sockets: Mapping[str, socket.socket]) -> ReplicaProcess:
        listeners = [*sockets.values()]
        start = self._spares.start(launch, listeners)
        if start is None:
            mark = f"{os.getpid()} {time.monotonic()} {replica_id}"
            start = start_replica(launch, listeners, self._marks, mark)
        replica = ReplicaProcess(replica_id, launch, [*sockets], start, self._changed, self._groups)
        self._register.add(replica.pid, launch.service_id)
        return replica

    def adopt(self, replica_id: str, service_id: str, deployment_id: str, log: Log) -> None:
        super().adopt(replica_id, service_id, deployment_id, log)
        if replica := self._replicas.get(replica_id):
            assert isinstance(replica, ReplicaProcess)
            self._register.add(replica.pid, service_id)

    def _forget(self, replica: SupervisedReplica) -> None:
        assert isinstance(replica, ReplicaProcess)
        self._register.remove(replica.pid)

    def stop(self, seconds: float) -> None:
        self._spares.close()
        super().stop(seconds)
        self._groups.close()


def replicas_for(memory_bytes: int) -> int:
    """Return the maximum number of replicas on a machine with this much memory."""
    return max(4, memory_bytes // _BYTES_OF_A_REPLICA)
