"""What the pods of a deployment are doing that are not ready and have no problem, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

__all__ = ["waiting_of"]

Object = dict[str, Any]


def waiting_of(pods: Sequence[Object], events: Sequence[Object]) -> str:
    """Return how many pods are in which stage of their start: `1 pulling the image, 1 loading the driver`, or "".

    Args:
        pods: the pods that are not ready.
        events: the events of the namespace, in any order.
    """
    pulled_now = _uids(events, "Pulling") - _uids(events, "Pulled")
    stages = Counter(_stage(pod, is_pulling=pod["metadata"].get("uid") in pulled_now) for pod in pods)
    return ", ".join(f"{count} {stage}" for stage, count in stages.items())


def _uids(events: Sequence[Object], reason: str) -> set[Any]:
    return {event.get("involvedObject", {}).get("uid") for event in events if event.get("reason") == reason}


def _stage(pod: Object, *, is_pulling: bool) -> str:
    """Return the stage of one pod. While its image is pulled, its container is being created, as the cluster says."""
    status = pod.get("status", {})
    if not pod.get("spec", {}).get("nodeName"):
        return "waiting for a node"
    if any("running" in container.get("state", {}) for container in status.get("containerStatuses", [])):
        return "loading the driver"
    return "pulling the image" if is_pulling else "starting"
