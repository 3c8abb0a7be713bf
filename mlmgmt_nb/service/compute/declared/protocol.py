"""The protocol of computes that get a declaration and maintain it by themselves: clusters.

The service declares what should run, observes the state that the compute reports, and explains it. The protocol does
not depend on Kubernetes, and nothing here starts or ends a replica.
"""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from mlmgmt_nb.service.compute.forwarding.relayed_connection import Take
from mlmgmt_nb.service.compute.measures import Counters, Load
from mlmgmt_nb.service.compute.observed import ReplicaState

__all__ = [
    "NOTHING",
    "Bounds",
    "Cause",
    "Declaration",
    "DeclaredCompute",
    "Observation",
    "ObservedService",
    "StoppedError",
]


class StoppedError(Exception):
    """The compute was stopped while it was in use: another one, with new settings, has its place in the next round."""


class Bounds(msgspec.Struct, frozen=True):
    """The fewest and the most replicas of an autoscaled service, and its desired utilization in percent."""

    fewest: int
    most: int
    percent: int


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """The desired state of a service.

    Attributes:
        name: name of the service; of a candidate, that of its service with a second part.
        image: exact reference of the image, with its digest.
        replicas: desired number of replicas; only the initial number if the compute itself scales the service.
        bounds: bounds of the number of replicas, if it follows the load.
        key_digests: SHA-256 of the keys, in hexadecimal.
        environment: variables for the driver.
        secrets: secret variables by deployment: of this deployment and of the one that still serves.
        slots: maximum number of concurrent requests of a replica.
        cpu, memory: reservations, in the notation of the API, which is that of Kubernetes.
        start_seconds: time limit for a driver's `init()`.
        drain_seconds: time limit for a retired replica to finish its requests.
        hang_seconds: time without any response after which a replica is replaced.
        is_candidate: whether it runs beside a service, as its candidate, which is reachable only through this service.
    """

    service_id: str
    deployment_id: str
    name: str
    image: str
    replicas: int
    bounds: Bounds | None = None
    key_digests: Sequence[str]
    environment: Mapping[str, str]
    secrets: Mapping[str, Mapping[str, str]]
    slots: int
    cpu: str | None
    memory: str | None
    start_seconds: float
    drain_seconds: float
    hang_seconds: float
    is_candidate: bool = False

    @property
    def service_name(self) -> str:
        """The name in the paths of its replicas."""
        return self.name.partition("/")[0]

    def __repr__(self) -> str:
        return f"Declaration(service_id={self.service_id!r}, deployment_id={self.deployment_id!r}, name={self.name!r})"


class Cause(msgspec.Struct, frozen=True):
    """The reason why a service is not in its desired state, in one sentence.

    Attributes:
        is_certain: whether waiting cannot help.
    """

    code: str
    message: str
    is_certain: bool = False


class ObservedService(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one service on a compute.

    Attributes:
        fingerprint: fingerprint of the declaration in force; None if a part of it is missing or was changed.
        replicas: desired number of replicas, as declared; `ready` of them answer.
        is_complete: whether only replicas of this declaration are left, and all of them are ready.
        waiting: the stages of the replicas that are not ready, in a few words.
        cause: the problem that keeps replicas from being ready.
        refused: the fingerprint of the declaration that the compute refused last, with the cause.
        exists: whether anything of the service is left.
    """

    fingerprint: str | None = None
    deployment_id: str | None = None
    replicas: int = 0
    ready: int = 0
    is_complete: bool = False
    waiting: str = ""
    cause: Cause | None = None
    refused: tuple[str, Cause] | None = None
    exists: bool = True


NOTHING = ObservedService(exists=False)


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The state of all services on a compute, at one moment.

    Attributes:
        services: the services by id, including undeclared ones that a crash left over.
        away: why the compute does not respond, and since when; then `services` are from the last response.
    """

    services: Mapping[str, ObservedService]
    away: Cause | None = None
    away_since: dt.datetime | None = None


class DeclaredCompute(Protocol):
    """A compute that maintains declared services. Methods return immediately unless documented otherwise.

    Methods about open services raise `StoppedError` if the compute was stopped meanwhile.
    """

    @property
    def scales_itself(self) -> bool:
        """Whether the compute decides on the number of replicas of autoscaled services."""
        ...

    def fingerprint(self, declaration: Declaration) -> str:
        """Return the digest of everything that this declaration means here, except for the number of replicas of an
        autoscaled service.
        """
        ...

    def declare(self, declaration: Declaration) -> None:
        """Declare a service. Safe to repeat."""
        ...

    def scale(self, service_id: str, replicas: int) -> None:
        """Change the number of replicas of a declared service. Safe to repeat."""
        ...

    def load(self, service_id: str) -> Load | None:
        """Return the load of the ready replicas of a service; None while it is unknown."""
        ...

    def counters(self, service_id: str) -> Counters:
        """Return the counters of all replicas of a service since this process first saw them."""
        ...

    def memory(self, service_id: str) -> int:
        """Return the bytes of memory of all replicas of a service; 0 if they are not known."""
        ...

    def states(self, service_id: str) -> Mapping[ReplicaState, int]:
        """Return the number of replicas of a service in each state that has any."""
        ...

    def has_pending_connection(self, service_id: str) -> bool:
        """Return whether a request waits here for a service without replicas."""
        ...

    def remove(self, service_id: str) -> None:
        """Remove everything of a service. Safe to repeat."""
        ...

    def observe(self) -> Observation | None:
        """Return the last observation; None before the first."""
        ...

    def replace_keys(self, service_id: str, digests: Sequence[str], timeout: float) -> bool:
        """Declare a service again with new keys; wait until the compute has them. Return False after the timeout."""
        ...

    def open(self, service_id: str, port: int | None) -> int:
        """Listen on this machine for requests to a service, at the given port or a free one; return the port.

        Raises:
            OSError: the given port is taken, or no port is free.
        """
        ...

    def is_open(self, service_id: str) -> bool: ...

    def close(self, service_id: str) -> None:
        """Stop listening for a service."""
        ...

    def private_port(self, service_id: str) -> int:
        """Return a port of an open service that only this machine reaches, and that always leads to its replicas."""
        ...

    def divert(self, service_id: str, take: Take) -> None:
        """Leave the connections of an open service to others, from their next request on.

        New connections wait at `socket_of`; `take` gets existing ones.
        """
        ...

    def accept(self, service_id: str) -> None:
        """Accept the connections of an open service again."""
        ...

    def socket_of(self, service_id: str) -> socket.socket:
        """Return the listening socket of an open service."""
        ...

    def stop(self) -> None:
        """Stop this process's work; everything that was declared stays. The compute can be used again.

        Requests in progress may be completed, so this can take some time.
        """
        ...
