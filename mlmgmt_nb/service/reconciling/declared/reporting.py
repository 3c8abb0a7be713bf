"""The current problem of a service on a cluster, for its `error`, and the progress of its rollout, for its log."""

from __future__ import annotations

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.service.compute.declared.protocol import NOTHING, Observation, ObservedService
from mlmgmt_nb.service.reconciling.current_errors import CLUSTER_UNAVAILABLE, with_condition, without_condition
from mlmgmt_nb.service.reconciling.declared.desired import Desired

__all__ = ["error_of", "progress_line"]


def error_of(service: Desired, error: ErrorResponse | None, observation: Observation) -> ErrorResponse | None:
    """Return the error of a service, with its current problem if it has one.

    Args:
        error: the error in its row.
    """
    if observation.away is not None and observation.away_since is not None:
        since = f"{observation.away_since:%Y-%m-%d %H:%M:%S} UTC"
        message = (
            f"The cluster has not responded since {since}: {observation.away.message} Pods there may still answer."
        )
        return with_condition(error, CLUSTER_UNAVAILABLE, message)
    seen = observation.services.get(service.service_id, NOTHING)
    if service.target is not None or service.serving is None or seen.ready >= seen.replicas:
        return without_condition(error)
    cause = seen.refused[1] if seen.refused else seen.cause
    if cause is None or not (seen.refused or cause.is_certain):
        return without_condition(error)
    return with_condition(error, "PodsNotReady", f"{seen.ready} of {seen.replicas} pods are ready: {cause.message}")


def progress_line(seen: ObservedService) -> str:
    """Return the log line with the number of ready pods of a rollout, and the reason for which the others wait."""
    why = " ".join(seen.cause.message.split()) if seen.cause else seen.waiting
    return f"[mlmgmt] pods ready {seen.ready}/{seen.replicas}" + (f": {why}" if why else "")
