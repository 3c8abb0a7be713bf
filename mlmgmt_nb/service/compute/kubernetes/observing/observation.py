"""Observed services, from lists of our objects."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.service.compute.declared.protocol import Cause, ObservedService
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import DECLARATION, DEPLOYMENT, SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.causes import cause_of
from mlmgmt_nb.service.compute.kubernetes.observing.waiting import waiting_of

__all__ = ["Applied", "Listed", "identity_of", "lacks_node", "needs_explanation", "observe", "ready_pods"]

Object = dict[str, Any]

_LINGER_SECONDS = 3.0
"""Seconds that a retired pod may still be reached, by nodes that do not know yet."""
_LOST_SECONDS = 60.0
"""Seconds after its deadline until a pod that has not ended is considered to be on a lost node."""
_ENDED = frozenset({"Failed", "Succeeded"})
"""Phases of pods without running containers. Those that a node evicted stay listed, and nobody tells them to end."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a state folder in a cluster, at one moment.

    Attributes:
        objects: Secrets (without their contents), Services, Deployments and PodDisruptionBudgets, by kind.
        events: events of the namespace, if there is something to explain.
        room: the free capacity of nodes, if known.
        now: the time of the cluster, or the best estimate of it.
    """

    objects: Mapping[str, Sequence[Object]]
    pods: Sequence[Object]
    events: Sequence[Object] = ()
    room: str | None = None
    now: dt.datetime


class Applied(msgspec.Struct, frozen=True):
    """The last declaration that this process applied: its fingerprint, and the identity of each object by kind.

    `is_scaled`: the number of replicas changes without another declaration.
    """

    fingerprint: str
    identities: Mapping[str, str]
    is_scaled: bool = False


def identity_of(found: Object, *, is_scaled: bool = False) -> str:
    """Return a value that changes with the desired state of an object, but not with its status."""
    metadata = found["metadata"]
    spec = {name: value for name, value in found.get("spec", {}).items() if name != "replicas" or not is_scaled}
    # Only the metadata of a Secret is listed.
    content = msgspec.json.encode(spec, order="deterministic") if spec else metadata["resourceVersion"].encode()
    return f"{metadata['uid']} {hashlib.sha256(content).hexdigest()}"


def observe(
    listed: Listed, applied: Mapping[str, Applied], refused: Mapping[str, tuple[str, Cause]]
) -> dict[str, ObservedService]:
    """Return each service that has objects in the cluster.

    Args:
        applied: what this process applied, by service.
        refused: the fingerprints of declarations that the cluster refused, with the cause.
    """
    objects: dict[str, dict[str, Object]] = defaultdict(dict)
    for kind, found in listed.objects.items():
        for each in found:
            objects[_service_of(each)][kind] = each
    pods: dict[str, list[Object]] = defaultdict(list)
    for pod in listed.pods:
        pods[_service_of(pod)].append(pod)
    ids = {*objects, *pods, *refused}
    return {id_: _service(objects[id_], pods[id_], listed, applied.get(id_), refused.get(id_)) for id_ in ids}


def needs_explanation(listed: Listed) -> bool:
    """Return whether a Deployment has fewer ready pods than it should."""
    deployments = listed.objects.get("Deployment", ())
    return any(each.get("status", {}).get("readyReplicas", 0) < each["spec"].get("replicas", 1) for each in deployments)


def lacks_node(pod: Object) -> bool:
    """Return whether the cluster has found no node for a pod."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "PodScheduled" and each["status"] == "False" for each in conditions)


def ready_pods(pods: Iterable[Object]) -> list[Object]:
    """Return the pods that answer and are not about to end."""
    return [pod for pod in pods if _is_ready(pod) and not _is_ending(pod)]


def _service_of(found: Object) -> str:
    return str(found["metadata"].get("labels", {}).get(SERVICE, ""))


def _service(
    objects: Mapping[str, Object],
    pods: Sequence[Object],
    listed: Listed,
    applied: Applied | None,
    refused: tuple[str, Cause] | None,
) -> ObservedService:
    deployment = objects.get("Deployment")
    lasting = [pod for pod in pods if not _is_lost(pod, listed.now)]
    if deployment is None:
        return ObservedService(refused=refused, exists=bool(objects or lasting))
    deployment_id = deployment["spec"]["template"]["metadata"]["labels"].get(DEPLOYMENT)
    mine = _pods_of(deployment_id, lasting)
    wanted = deployment["spec"].get("replicas", 1)
    ready = len(ready_pods(mine))
    is_complete = _is_rolled_out(deployment) and ready >= wanted and not _is_reached(lasting, deployment_id, listed.now)
    living = [pod for pod in mine if not _is_ending(pod)]
    return ObservedService(
        fingerprint=_fingerprint(objects, applied),
        deployment_id=deployment_id,
        replicas=wanted,
        ready=ready,
        is_complete=is_complete,
        waiting=waiting_of(_unready(living), listed.events),
        cause=None if ready >= wanted else cause_of(deployment, living, listed.events, listed.room),
        refused=refused,
    )


def _pods_of(deployment_id: str | None, pods: Iterable[Object]) -> list[Object]:
    return [pod for pod in pods if pod["metadata"]["labels"].get(DEPLOYMENT) == deployment_id]


def _unready(pods: Iterable[Object]) -> list[Object]:
    return [pod for pod in pods if not _is_ready(pod)]


def _fingerprint(objects: Mapping[str, Object], applied: Applied | None) -> str | None:
    """Return the fingerprint of the objects in the cluster; None if an object is missing, was changed by somebody else,
    or was applied by an earlier process: then all are applied again, which changes nothing in correct objects.
    """
    if applied is None or applied.identities.keys() != objects.keys():
        return None
    if any(
        identity_of(objects[kind], is_scaled=applied.is_scaled) != identity
        for kind, identity in applied.identities.items()
    ):
        return None
    fingerprint: str | None = objects["Deployment"]["metadata"].get("annotations", {}).get(DECLARATION)
    return fingerprint


def _is_rolled_out(deployment: Object) -> bool:
    """Return whether the controller has seen the last change, and all of its pods are new and available."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas")]
    return status.get("observedGeneration") == deployment["metadata"].get("generation") and counts == [wanted] * 3


def _is_reached(pods: Iterable[Object], deployment_id: str | None, now: dt.datetime) -> bool:
    """Return whether pods of other deployments may still get requests."""
    others = [pod for pod in pods if pod["metadata"]["labels"].get(DEPLOYMENT) != deployment_id]
    others = [pod for pod in others if pod.get("status", {}).get("phase") not in _ENDED]
    return any(_ending_since(pod, now) < _LINGER_SECONDS for pod in others)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _ending_since(pod: Object, now: dt.datetime) -> float:
    """Return the seconds since a pod was told to end; negative infinity if it was not."""
    if not _is_ending(pod):
        return float("-inf")
    # `deletionTimestamp` is when it has to have ended.
    deadline = dt.datetime.fromisoformat(pod["metadata"]["deletionTimestamp"])
    return (now - deadline).total_seconds() + float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _is_lost(pod: Object, now: dt.datetime) -> bool:
    grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    return _ending_since(pod, now) > grace + _LOST_SECONDS
