"""The load and the counters of the replicas of a service, and their states, on any kind of compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.compute.observed import ReplicaState

__all__ = ["Counters", "Load", "Measured"]


class Load(msgspec.Struct, frozen=True):
    """The load of the ready replicas of a service: current requests, maximum concurrent requests, and the average
    number of current requests during the last second.
    """

    busy: int
    slots: int
    occupied: float


class Counters(msgspec.Struct, frozen=True, rename="camel"):
    """The counters of replicas since they started.

    Attributes:
        requests: accepted scoring requests.
        failures: requests that failed in the driver or timed out.
        rejected: requests refused because all slots were taken.
        busy_seconds: time spent in the driver.
        latency: number of completed requests in each latency bucket, by upper bound in seconds.
        latency_seconds: sum of the latencies.
        recorded: requests that were recorded.
        not_recorded: requests that should have been recorded but were too many or too large.
    """

    requests: int = 0
    failures: int = 0
    rejected: int = 0
    busy_seconds: float = 0.0
    latency: dict[str, int] = {}
    latency_seconds: float = 0.0
    recorded: int = 0
    not_recorded: int = 0

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
            self.recorded + other.recorded,
            self.not_recorded + other.not_recorded,
        )

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(
            self.requests - earlier.requests,
            self.failures - earlier.failures,
            self.rejected - earlier.rejected,
            self.busy_seconds - earlier.busy_seconds,
            {bound: count - earlier.latency.get(bound, 0) for bound, count in self.latency.items()},
            self.latency_seconds - earlier.latency_seconds,
            self.recorded - earlier.recorded,
            self.not_recorded - earlier.not_recorded,
        )


resolve(Counters)


class Measured(Protocol):
    """The part of a compute that metrics use."""

    def counters(self, service_id: str) -> Counters:
        """Return the counters of all replicas of a service, including ended ones, since this process first saw them.

        Counters of a promoted candidate start at its promotion.
        """
        ...

    def load(self, service_id: str) -> Load | None:
        """Return the load of the ready replicas of a service; None while it is unknown."""
        ...

    def memory(self, service_id: str) -> int:
        """Return the bytes of memory of all replicas of a service; 0 if they are not known."""
        ...

    def states(self, service_id: str) -> Mapping[ReplicaState, int]:
        """Return the number of replicas of a service in each state that has any."""
        ...
