"""Capacity of a compute and existing reservations: decides which services get replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mlmgmt_nb.contract import ServiceCreateRequest
from mlmgmt_nb.service.compute.base import Capacity
from mlmgmt_nb.service.http.problems import conflict
from mlmgmt_nb.service.reconciling.specs import cpus, memory_bytes, replica_bounds, replica_count, scaling

__all__ = ["Reservations", "check_capacity", "replicas_that_fit", "reserved_replicas"]

Reservations = Sequence[tuple[ServiceCreateRequest, int]]
"""The other services on the compute: their specs, and the number of replicas to reserve for each."""


class _Resource(NamedTuple):
    """A limited resource: the field that requests it, its unit, amount per replica, capacity, and amount taken."""

    path: str
    unit: str
    each: float
    there: float
    taken: float


def reserved_replicas(spec: ServiceCreateRequest, scale: int | None) -> int:
    """Return the number of replicas that a service reserves: 0 while it sleeps, and otherwise its minimum.

    The autoscaler releases replicas above the minimum when another service needs their capacity.
    """
    return min(replica_count(spec, scale), max(1, replica_bounds(spec)[0]))


def check_capacity(spec: ServiceCreateRequest, others: Reservations, capacity: Capacity) -> None:
    """Refuse replicas and reservations that exceed the capacity left by other services.

    Raises:
        Problem: 409, with the capacity and the amount that is already reserved.
    """
    count = max(1, replica_bounds(spec)[0])
    for resource in _resources(spec, others, capacity):
        wanted = resource.each * count
        if wanted and wanted + resource.taken > resource.there:
            raise conflict(
                "CapacityExceeded",
                f"{resource.path}: {wanted:,g} {resource.unit} are not available: this compute has {resource.there:,g} "
                f"in total, of which other services have reserved {resource.taken:,g}.",
            )


def replicas_that_fit(spec: ServiceCreateRequest, others: Reservations, capacity: Capacity) -> int:
    """Return the number of replicas of a service that fit beside the other services."""
    return min(
        int((resource.there - resource.taken) / resource.each + 1e-9)
        for resource in _resources(spec, others, capacity)
        if resource.each
    )


def _resources(spec: ServiceCreateRequest, others: Reservations, capacity: Capacity) -> Iterator[_Resource]:
    kinds: list[tuple[str, str, Callable[[ServiceCreateRequest], float | None], float]] = [
        ("$.containerResourceReservation.cpu", "CPUs", cpus, capacity.cpus),
        ("$.containerResourceReservation.memory", "bytes", memory_bytes, capacity.memory_bytes),
        ("$.autoScaler.minReplicas" if scaling(spec) else "$.numReplicas", "replicas", lambda _: 1, capacity.replicas),
    ]
    for path, unit, each, there in kinds:
        taken = sum((each(other) or 0.0) * count for other, count in others)
        yield _Resource(path, unit, each(spec) or 0.0, there, taken)
