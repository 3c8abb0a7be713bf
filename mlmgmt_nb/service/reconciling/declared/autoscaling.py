"""The number of replicas of autoscaled services on clusters: load of the pods in, the stored `scale` out."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from mlmgmt_nb.service.compute.declared.protocol import DeclaredCompute, ObservedService
from mlmgmt_nb.service.compute.measures import Load
from mlmgmt_nb.service.reconciling.autoscaler import ScaleState, decide
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.reconciling.specs import Scaling, scaling, slots

__all__ = ["Autoscaling"]


class Autoscaling:
    """The autoscaler of each service.

    Args:
        calm_seconds: seconds of low load before one replica is removed.
    """

    def __init__(self, recorder: ServiceRecorder, calm_seconds: float) -> None:
        self._recorder = recorder
        self._calm_seconds = calm_seconds
        self._states: dict[str, ScaleState] = {}

    def adjust(self, row: Row[Any], compute: DeclaredCompute, seen: ObservedService, moment: float) -> None:
        """Change the number of replicas of a service if its load demands it, or record the decision of its compute."""
        auto = scaling(row.serving_spec)
        if auto is None or row.target_id is not None or row.deleting or row.serving_status != "Active":
            self._states.pop(row.id, None)
        elif compute.scales_itself:
            self._record(row, seen.replicas if seen.exists else row.scale)
        else:
            state = self._states.get(row.id) or ScaleState(replicas=row.scale or 0, decided=moment, looked=moment)
            self._states[row.id] = after = self._decide(row, auto, compute, state, seen, moment)
            self._record(row, after.replicas)

    def _decide(
        self,
        row: Row[Any],
        auto: Scaling,
        compute: DeclaredCompute,
        state: ScaleState,
        seen: ObservedService,
        moment: float,
    ) -> ScaleState:
        load = compute.load(row.id) if state.replicas else Load(0, 0, 0.0)
        if load is None:
            # The load is unknown: decide nothing, and measure from now on.
            return msgspec.structs.replace(state, decided=moment, looked=moment, busy_seconds=0.0, calm_since=None)
        return decide(
            state,
            auto,
            load,
            slots(row.serving_spec),
            moment,
            calm_seconds=self._calm_seconds,
            has_request=state.replicas == 0 and compute.has_pending_connection(row.id),
            starting=seen.ready < state.replicas,
        )

    def _record(self, row: Row[Any], replicas: int) -> None:
        if replicas != row.scale:
            self._recorder.set(row.id, scale=replicas)
            self._recorder.log(row.id).line(f"[mlmgmt] autoscaler: {row.scale} -> {replicas} replicas")

    def forget(self, service_id: str) -> None:
        self._states.pop(service_id, None)

    def clear(self) -> None:
        self._states.clear()
