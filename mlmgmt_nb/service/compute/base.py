"""The protocol of all kinds of compute, as used by the supervisor."""

from __future__ import annotations

import socket
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mlmgmt_nb.service.compute.measures import Counters, Load
from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.files.logs import Log

__all__ = ["Capacity", "Compute", "Exit", "Launch"]


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters for starting one replica.

    Attributes:
        account: the account of the service.
        context: the build context of the image.
        interpreter: the Python of the image, if the compute runs it directly.
        key_digests: SHA-256 of the keys, in hexadecimal.
        environment: variables for the driver.
        secrets: additional variables, sent to the replica directly: no process list and no engine shows them.
        data: folder for collected data, unless `AML_MODEL_DC_STORAGE` in `environment` names another place.
        recordings: folder for recorded requests, if they are recorded; `environment` has the settings.
        slots: maximum number of concurrent requests.
        allowed_hosts: hosts that requests may name.
        cpus: reserved CPUs, if any.
        memory_bytes: reserved memory, if any.
        candidate_of: the service, for a replica of its candidate, which may accept its connections later.
    """

    service_id: str
    deployment_id: str
    name: str
    context: Path
    interpreter: str | None
    key_digests: Sequence[str]
    environment: Mapping[str, str]
    data: Path
    slots: int
    allowed_hosts: Sequence[str]
    cpus: float | None
    memory_bytes: int | None
    log: Log
    secrets: Mapping[str, str] = {}
    account: str = ""
    recordings: Path | None = None
    candidate_of: str | None = None

    @property
    def service(self) -> str:
        """Return the account and name of the service."""
        return f"{self.account}/{self.name}"

    def __repr__(self) -> str:
        return f"Launch(service_id={self.service_id!r}, deployment_id={self.deployment_id!r}, name={self.name!r})"


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that ended without being asked to.

    Attributes:
        permanent: whether a restart cannot help because the driver does not load.
        lived: seconds that it was ready.
    """

    service_id: str
    deployment_id: str
    code: str
    message: str
    permanent: bool
    lived: float = 0.0


class Capacity(msgspec.Struct, frozen=True):
    """The capacity of a compute; `replicas` is the maximum number of replicas."""

    cpus: float
    memory_bytes: int
    replicas: int


class Compute(Protocol):
    """A kind of compute. It acts and observes; the reconciler decides. Methods return immediately."""

    def capacity(self) -> Capacity: ...

    def open(self, service_id: str, port: int | None) -> int:
        """Open the socket of a service and return its port: the given port, or a free one.

        Raises:
            OSError: the given port is taken, or no port is free.
        """
        ...

    def is_open(self, service_id: str) -> bool: ...

    def start(self, launch: Launch) -> None: ...

    def keep(self, replica_id: str) -> None:
        """Let a ready replica leave the socket of its service, and stay until it is taken over or drained."""
        ...

    def adopt(self, replica_id: str, service_id: str, deployment_id: str, log: Log) -> None:
        """Make a ready or kept replica part of another deployment; its state is starting until it accepts connections.

        Args:
            log: the log of the service.
        """
        ...

    def socket_of(self, service_id: str) -> socket.socket:
        """Return the socket of a service."""
        ...

    def private_port(self, service_id: str, deployment_id: str) -> int | None:
        """Return the port of this machine at which the replicas of a deployment always accept connections, or None."""
        ...

    def show(self, replica_id: str, *, at_service: bool) -> None:
        """Let a replica accept connections at the socket of its service, or only at that of its deployment."""
        ...

    def forget_deployments(self, service_id: str, kept: Container[str]) -> None:
        """Release the resources of deployments of a service that have ended.

        Args:
            kept: the deployments that have not ended.
        """
        ...

    def drain(self, replica_id: str, seconds: float) -> None: ...

    def kill(self, replica_id: str, *, hung: bool) -> None: ...

    def set_keys(self, service_id: str, digests: Sequence[str], timeout: float) -> bool:
        """Send new keys to the replicas of a service. Return False if one did not confirm within `timeout` seconds."""
        ...

    def replicas(self) -> list[Replica]: ...

    def exits(self) -> list[Exit]:
        """Return the exits since the last call."""
        ...

    def load(self, service_id: str) -> Load: ...

    def memory(self, service_id: str) -> int:
        """Return the bytes of memory of all replicas of a service; 0 if they are not known."""
        ...

    def counters(self, service_id: str) -> Counters:
        """Return the counters of all replicas of a service, including ended ones, since this process started."""
        ...

    def states(self, service_id: str) -> Mapping[ReplicaState, int]:
        """Return the number of replicas of a service in each state that has any."""
        ...

    def has_pending_connection(self, service_id: str) -> bool:
        """Return whether a request waits at the socket of a service without replicas.

        If none does, the compute watches the socket: it reports a change when a connection arrives, and `connected()`
        then includes the service.
        """
        ...

    def connected(self) -> set[str]:
        """Return the services that received a connection while they were watched, since the last call."""
        ...

    def refuse(self, service_id: str, message: str) -> None:
        """Answer 503 to the requests that wait at the socket of a service without replicas."""
        ...

    def close(self, service_id: str) -> None: ...

    def stop(self, seconds: float) -> None:
        """End everything after replicas had up to `seconds` to finish their requests. The compute can be used again."""
        ...
