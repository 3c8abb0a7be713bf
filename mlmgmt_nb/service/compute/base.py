"""What every kind of compute offers to the supervisor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mlmgmt_nb.service.compute.observed import Replica
from mlmgmt_nb.service.files.logs import Log

__all__ = ["Capacity", "Compute", "Counters", "Exit", "Launch", "Load"]


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All that it takes to start one replica.

    Attributes:
        context: the build context of the image.
        interpreter: the Python that the image was realised with, where the compute runs it directly.
        key_digests: SHA-256 of the keys, in hexadecimal.
        environment: variables for the driver.
        secrets: further ones, which are told to the replica itself: no list of processes and no engine shows them.
        data: folder for the data that the driver collects, unless `AML_MODEL_DC_STORAGE` in `environment` says where.
        slots: requests that it accepts at once.
        allowed_hosts: hosts that requests may name.
        cpus: CPUs reserved for it, if any.
        memory_bytes: memory reserved for it, if any.
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

    def __repr__(self) -> str:
        return f"Launch(service_id={self.service_id!r}, deployment_id={self.deployment_id!r}, name={self.name!r})"


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that ended without having been asked to.

    Attributes:
        permanent: its driver does not load.
        lived: seconds that it was ready.
    """

    service_id: str
    deployment_id: str
    code: str
    message: str
    permanent: bool
    lived: float = 0.0


class Load(msgspec.Struct, frozen=True):
    """How busy the ready replicas of a service are: requests accepted, how many they could accept, and how many they
    had accepted on average in the last second or so."""

    busy: int
    slots: int
    occupied: float


class Counters(msgspec.Struct, frozen=True, rename="camel"):
    """What replicas have counted since they started.

    Attributes:
        requests: scoring requests taken.
        failures: those that the driver failed or did not finish in time.
        rejected: requests refused because all slots were taken.
        busy_seconds: time spent in the driver.
        latency: answered requests by how long that took: the count of each bucket, by its upper bound in seconds.
        latency_seconds: how long that took together.
    """

    requests: int = 0
    failures: int = 0
    rejected: int = 0
    busy_seconds: float = 0.0
    latency: dict[str, int] = {}
    latency_seconds: float = 0.0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.requests + other.requests,
            self.failures + other.failures,
            self.rejected + other.rejected,
            self.busy_seconds + other.busy_seconds,
            {
                bound: self.latency.get(bound, 0) + other.latency.get(bound, 0)
                for bound in {**self.latency, **other.latency}
            },
            self.latency_seconds + other.latency_seconds,
        )


class Capacity(msgspec.Struct, frozen=True):
    """What a compute has to give; `replicas` is how many it can bear at all."""

    cpus: float
    memory_bytes: int
    replicas: int


class Compute(Protocol):
    """A kind of compute. It acts and observes; what to do is decided by the reconciler. Methods return at once."""

    def capacity(self) -> Capacity: ...

    def open(self, service_id: str, port: int | None) -> int:
        """Return a service its socket and return its port; the given one, or a free one.

        Raises:
            OSError: when the given port is taken, or none is free.
        """
        ...

    def is_open(self, service_id: str) -> bool: ...

    def start(self, launch: Launch) -> None: ...

    def drain(self, replica_id: str, seconds: float) -> None: ...

    def kill(self, replica_id: str, *, hung: bool) -> None: ...

    def set_keys(self, service_id: str, digests: Sequence[str], timeout: float) -> bool:
        """Return the replicas of a service its new keys; False when one did not confirm within `timeout` seconds."""
        ...

    def replicas(self) -> list[Replica]: ...

    def exits(self) -> list[Exit]:
        """Return the exits since the last call."""
        ...

    def load(self, service_id: str) -> Load: ...

    def counters(self, service_id: str) -> Counters:
        """Return what all replicas of a service have counted, those that have ended too, since this process started."""
        ...

    def has_pending_connection(self, service_id: str) -> bool:
        """Return whether a request waits at the socket of a service that has no replica.

        If none does, the compute watches the socket: it reports a change when a connection comes, and `connected()`
        then has the service.
        """
        ...

    def connected(self) -> set[str]:
        """Return the services that got a connection while they were watched, since the last call."""
        ...

    def refuse(self, service_id: str, message: str) -> None:
        """Answers 503 to the requests that wait at the socket of a service that has no replica."""
        ...

    def close(self, service_id: str) -> None: ...

    def stop(self, seconds: float) -> None:
        """End everything, giving replicas so long to finish their requests. It may be used again afterwards."""
        ...
