"""The reason why the pods of a deployment are not ready, in one sentence.

Waiting reasons, terminations, conditions and events are read together. A cause is certain if waiting cannot help: one
failed pull or one restart may be temporary, but a missing image or a driver that does not load is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.service.compute.declared.protocol import Cause

__all__ = ["cause_of", "time_of"]

Object = dict[str, Any]

LOAD_FAILED = 3
"""Exit code of a replica whose driver does not load."""
_RESTARTS_OF_A_ROLLOUT = 2
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|name unknown|unauthorized|authentication required|denied|forbidden|insufficient_scope",
    re.IGNORECASE,
)
_WRAPPING = re.compile(
    r"^(rpc error: code = \w+ desc = |failed to pull and unpack image \S+: |failed to resolve reference \S+: )+"
)
_SURE = {
    "InvalidImageName": "The image cannot be pulled: its name is not valid: {}",
    "ErrImageNeverPull": "The image cannot be pulled: {}",
    "CreateContainerConfigError": "The container cannot be created: {}",
}
_UNSURE = {
    "CreateContainerError": "The container cannot be created: {}",
    "RunContainerError": "The container cannot be started: {}",
}


def cause_of(deployment: Object, pods: Sequence[Object], events: Sequence[Object], room: str | None) -> Cause | None:
    """Return why the pods of a deployment are not ready, if there is a known cause; a certain one first.

    Args:
        deployment: the Deployment.
        pods: its pods of the declared deployment.
        events: the events of the namespace about these pods.
        room: the free capacity of nodes, in words, if known.
    """
    found = [*_of_deployment(deployment), *(cause for pod in pods for cause in _of_pod(pod, _about(pod, events), room))]
    return next((cause for cause in found if cause.is_certain), found[0] if found else None)


def _of_deployment(deployment: Object) -> Iterator[Cause]:
    for condition in deployment.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = condition.get("message", "")
            code = "QuotaExceeded" if "exceeded quota" in message else "PodsRefused"
            # Without the random names of pods, the sentence stays the same.
            shown = re.sub(r'^pods "[^"]*" is forbidden: ', "", message)
            yield Cause(code, f"The cluster refuses pods: {shown}.", is_certain="is forbidden" in message)


def _of_pod(pod: Object, events: Sequence[Object], room: str | None) -> Iterator[Cause]:
    status = pod.get("status", {})
    for container in status.get("containerStatuses", []):
        yield from _of_container(container, events, _memory_of(pod))
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield _unscheduled(pod, condition.get("message", ""), events, room)
    mounting = [event for event in events if event.get("reason") == "FailedMount"]
    if mounting and not status.get("containerStatuses"):
        yield Cause("MountFailed", f"A volume cannot be mounted: {mounting[-1].get('message', '')}")
    if status.get("reason") == "Evicted":
        yield Cause("Evicted", f"A pod was evicted: {status.get('message', '')}")


def _of_container(container: Object, events: Sequence[Object], memory: str | None) -> Iterator[Cause]:
    waiting = container.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULLING:
        yield _pull(message, events)
    elif reason in _SURE:
        yield Cause(reason, _SURE[reason].format(message), is_certain=True)
    elif reason in _UNSURE:
        yield Cause(reason, _UNSURE[reason].format(message), is_certain=_keeps_failing(container))
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if ended and not container.get("ready"):
        yield _termination(ended, memory, keeps_failing=_keeps_failing(container))


def _keeps_failing(container: Object) -> bool:
    return bool(container.get("restartCount", 0) >= _RESTARTS_OF_A_ROLLOUT)


def _pull(message: str, events: Sequence[Object]) -> Cause:
    """Return why an image cannot be pulled, in the words of the registry. During a back-off only an event has them."""
    said = [str(event.get("message", "")) for event in events if event.get("reason") == "Failed"]
    said = [text.partition(": ")[2] for text in said if text.startswith("Failed to pull image")]
    words = _WRAPPING.sub("", said[-1] if said else message)
    return Cause(
        "ImagePullFailed", f"The image cannot be pulled: {words}.", is_certain=bool(_NO_SUCH_IMAGE.search(words))
    )


def _termination(ended: Object, memory: str | None, *, keeps_failing: bool) -> Cause:
    code = ended.get("exitCode", 0)
    if ended.get("reason") == "OOMKilled":
        limit = f"its reserved memory of {memory}" if memory else "the memory of its node"
        return Cause("OutOfMemory", f"The pod exceeded {limit}.", is_certain=True)
    if code == LOAD_FAILED and (failure := _failure(ended.get("message", ""))):
        return Cause(*failure, is_certain=True)
    last = (ended.get("message") or "").strip().rpartition("\n")[2]
    said = f"; its last line: {last}" if last else ""
    return Cause("PodExited", f"The pod ended by itself with exit code {code}{said}.", is_certain=keeps_failing)


def _failure(message: str) -> tuple[str, str] | None:
    """Return the code and message that the runtime left, or else the last line of its log."""
    try:
        written = msgspec.json.decode(message, type=dict[str, str])
        return written["code"], written["message"]
    except (msgspec.MsgspecError, KeyError):
        last = message.strip().rpartition("\n")[2]
        return ("DriverInitError", last) if last else None


def _unscheduled(pod: Object, message: str, events: Sequence[Object], room: str | None) -> Cause:
    asked = _requests_of(pod)
    wanted = ", ".join(f"{amount} {name}" for name, amount in asked.items()) or "no reservation"
    free = f" Free: {room}." if room else ""
    # An event says if the cluster is about to grow; then there may be room later.
    grows = any(event.get("reason") == "TriggeredScaleUp" for event in events)
    is_certain = not grows and any(event.get("reason") == "FailedScheduling" for event in events)
    return Cause(
        "NoRoom", f"No node has room for a pod ({wanted}): {message.rstrip('.')}.{free}", is_certain=is_certain
    )


def _requests_of(pod: Object) -> dict[str, str]:
    found: dict[str, str] = {}
    for container in pod.get("spec", {}).get("containers", []):
        found |= container.get("resources", {}).get("requests", {})
    return found


def _memory_of(pod: Object) -> str | None:
    containers = pod.get("spec", {}).get("containers", [])
    limits = [container.get("resources", {}).get("limits", {}).get("memory") for container in containers]
    return next(filter(None, limits), None)


def _about(pod: Object, events: Iterable[Object]) -> list[Object]:
    """Return the events about a pod, the last one last."""
    uid = pod["metadata"].get("uid")
    mine = [event for event in events if event.get("involvedObject", {}).get("uid") == uid]
    return sorted(mine, key=time_of)


def time_of(event: Object) -> str:
    """Return the time when an event was last seen, as the cluster writes it."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
