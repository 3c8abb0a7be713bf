"""The progress of rollouts, as lines in the logs of the services."""

from __future__ import annotations

from collections.abc import Sequence

from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.reconciling.replicas.desired import Desired

__all__ = ["RolloutProgress"]


class RolloutProgress:
    """Logs how many replicas of each rollout are ready, whenever the number changes."""

    def __init__(self, recorder: ServiceRecorder) -> None:
        self._recorder = recorder
        self._logged: dict[str, tuple[str, int]] = {}

    def log(self, desired: Sequence[Desired], replicas: Sequence[Replica]) -> None:
        for service in desired:
            if service.target is None or not service.target_replicas:
                self._logged.pop(service.service_id, None)
                continue
            ready = sum(
                replica.deployment_id == service.target and replica.state is ReplicaState.READY for replica in replicas
            )
            current = (service.target, ready)
            if self._logged.get(service.service_id) != current:
                self._logged[service.service_id] = current
                line = f"[mlmgmt] replicas ready {ready}/{service.target_replicas}"
                self._recorder.log(service.service_id).line(line)
