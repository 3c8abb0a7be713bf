"""The number of replicas of autoscaled services: load and capacity in, the stored `scale` out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Row

from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.compute.base import Capacity
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.observed import ReplicaState
from mlmgmt_nb.service.reconciling.autoscaler import ScaleState, decide
from mlmgmt_nb.service.reconciling.capacity import replicas_that_fit, reserved_replicas
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.reconciling.service_rows import kept_deployment
from mlmgmt_nb.service.reconciling.specs import Scaling, replica_count, scaling, slots

__all__ = ["Autoscaling"]


_NO_ROOM = "This service sleeps, and its compute has no room for a replica now: others reserve its CPUs or memory."


class Autoscaling:
    """The autoscaler of each service.

    Args:
        calm_seconds: seconds of low load before one replica is removed.
    """

    def __init__(self, computes: Computes, recorder: ServiceRecorder, calm_seconds: float) -> None:
        self._computes = computes
        self._recorder = recorder
        self._calm_seconds = calm_seconds
        self._states: dict[str, ScaleState] = {}

    def adjust(
        self, row: Row[Any], services: Iterable[Row[Any]], moment: float, *, starting: bool, is_split: bool = False
    ) -> None:
        """Change the number of replicas of a service if its load demands it.

        Args:
            services: all services, which share the capacity.
            starting: whether a replica of the service is starting.
            is_split: whether a router accepts the connections of the service, or should: it is awake then.
        """
        auto, compute = scaling(row.serving_spec), self._computes[row.compute_id]
        if auto is None or _is_changing(row) or not compute.is_open(row.id):
            self._states.pop(row.id, None)
            return
        state = self._state(row, moment)
        has_request = state.replicas == 0 and (is_split or compute.has_pending_connection(row.id))
        if _may_sleep(row, state, auto) and not has_request:
            self._states[row.id] = state
            return
        neighbors = self._neighbors(row, services)
        if has_request and not _has_room(row, neighbors, compute.capacity()):
            compute.refuse(row.id, _NO_ROOM)
            return
        room = _room(row, neighbors, compute.capacity())
        after = decide(
            state,
            _within(auto, room, is_split=is_split),
            compute.load(row.id),
            slots(row.serving_spec),
            moment,
            calm_seconds=self._calm_seconds,
            has_request=has_request,
            starting=starting,
        )
        self._states[row.id] = after
        self._record(row, after.replicas)

    def _state(self, row: Row[Any], moment: float) -> ScaleState:
        return self._states.get(row.id) or ScaleState(replicas=row.scale or 0, decided=moment, looked=moment)

    def _record(self, row: Row[Any], replicas: int) -> None:
        if replicas != row.scale:
            self._recorder.set(row.id, scale=replicas)
            self._recorder.log(row.id).line(f"[mlmgmt] autoscaler: {row.scale} -> {replicas} replicas")

    def _neighbors(self, row: Row[Any], services: Iterable[Row[Any]]) -> list[tuple[Row[Any], int]]:
        """Return the other services with replicas on a service's compute, with the desired number of replicas of each.

        They include replicas that are kept for a rollback, also those of the service itself. A kept replica counts as a
        replica of the current deployment, which usually has the same reservations.
        """
        there = [other for other in services if other.compute_id == row.compute_id]
        counted = [(other, self._count(other)) for other in there if other.id != row.id]
        kept = [(other, self._kept(other)) for other in there if kept_deployment(other, now()) is not None]
        return [(other, count) for other, count in (*counted, *kept) if count]

    def _kept(self, row: Row[Any]) -> int:
        return self._computes[row.compute_id].states(row.id).get(ReplicaState.KEPT, 0)

    def _count(self, row: Row[Any]) -> int:
        """Return the desired number of replicas of a service. Decisions of this round are not in its row yet."""
        if row.deleting or (row.target_id is None and row.serving_status != "Active"):
            return 0
        decided = self._states.get(row.id)
        return replica_count(row.serving_spec, row.scale) if decided is None else decided.replicas

    def clear(self) -> None:
        self._states.clear()


def _is_changing(row: Row[Any]) -> bool:
    return row.target_id is not None or row.deleting


def _may_sleep(row: Row[Any], state: ScaleState, auto: Scaling) -> bool:
    return state.replicas == 0 and row.scale == 0 and auto.minimum == 0


def _room(row: Row[Any], neighbors: Iterable[tuple[Row[Any], int]], capacity: Capacity) -> int:
    """Return the number of replicas of a service that fit beside all those that the others run."""
    return replicas_that_fit(row.serving_spec, [(other.serving_spec, count) for other, count in neighbors], capacity)


def _within(auto: Scaling, room: int, *, is_split: bool) -> Scaling:
    """Return the bounds of an autoscaler within the capacity of the compute, which the requested maximum may exceed."""
    # A request at the router would not wake the service.
    minimum = max(1, auto.minimum) if is_split else auto.minimum
    return msgspec.structs.replace(auto, minimum=minimum, maximum=max(minimum, 1, min(auto.maximum, room)))


def _has_room(row: Row[Any], neighbors: Iterable[tuple[Row[Any], int]], capacity: Capacity) -> bool:
    """Return whether a sleeping service can wake with the capacity that the others leave."""
    reserved = [(other.serving_spec, reserved_replicas(other.serving_spec, count)) for other, count in neighbors]
    return replicas_that_fit(row.serving_spec, reserved, capacity) >= 1
