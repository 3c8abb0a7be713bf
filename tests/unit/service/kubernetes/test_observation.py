"""What a cluster says of a service: complete or not, and why not in one sentence."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from mlmgmt_nb.service.compute.declared.protocol import Cause
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import KINDS
from mlmgmt_nb.service.compute.kubernetes.observing.causes import cause_of
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Applied, Listed, identity_of, observe
from mlmgmt_nb.service.compute.kubernetes.observing.room import describe_room, quantity
from mlmgmt_nb.service.compute.kubernetes.observing.waiting import waiting_of

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def metadata(**more: Any) -> dict[str, Any]:
    labels = {"mlmgmt-nb/service": "s", **more.pop("labels", {})}
    return {"name": "iris", "uid": "u", "resourceVersion": "7", "labels": labels, **more}


def deployment(*, wanted: int = 1, **status: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("updatedReplicas", "availableReplicas", "replicas", "readyReplicas"), wanted)
    template = {"metadata": {"labels": {"mlmgmt-nb/deployment": "d2"}}}
    return {
        "metadata": metadata(generation=2, annotations={"mlmgmt-nb/declaration": "f"}),
        "spec": {"replicas": wanted, "template": template},
        "status": {"observedGeneration": 2, **counts, **status},
    }


def pod(deployment_id: str = "d2", *, ready: bool = True, ending: float | None = None, **status: Any) -> dict[str, Any]:
    """Return a pod; `ending` is the seconds since it was told to end, of the 39 that it has."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    deadline = {} if ending is None else {"deletionTimestamp": (NOW + dt.timedelta(seconds=39 - ending)).isoformat()}
    labels = {"mlmgmt-nb/deployment": deployment_id}
    described = metadata(uid="pod", labels=labels, deletionGracePeriodSeconds=39, **deadline)
    container = {"resources": {"requests": {"cpu": "2"}, "limits": {"memory": "64Mi"}}}
    return {"metadata": described, "spec": {"containers": [container]}, "status": {"conditions": conditions, **status}}


def listed(*pods: Any, **status: Any) -> Listed:
    objects = {kind: [{"metadata": metadata()}] for kind in KINDS}
    return Listed(objects={**objects, "Deployment": [deployment(**status)]}, pods=pods, now=NOW)


@pytest.mark.parametrize(
    ("seen", "is_complete"),
    [
        (listed(pod()), True),
        (listed(pod(ready=False)), False),
        (listed(pod(ending=1.0)), False),
        (listed(pod(), observedGeneration=1), False),
        (listed(pod(), updatedReplicas=0), False),
        (listed(pod(), pod("d1")), False),
        (listed(pod(), pod("d1", ending=1.0)), False),
        (listed(pod(), pod("d1", ending=4.0)), True),
        (listed(pod(), pod("d1", ready=False, phase="Failed")), True),
        (listed(pod(), pod("d1", ready=False, phase="Succeeded")), True),
        (listed(pod(), pod("d1", ready=False, phase="Running")), False),
        (listed(wanted=0), True),
    ],
)
def test_a_rollout_is_complete_when_only_its_ready_pods_are_reached(seen: Listed, is_complete: bool) -> None:
    assert observe(seen, {}, {})["s"].is_complete is is_complete


def test_changes_by_others_are_noticed() -> None:
    found = listed(pod())
    identities = {kind: identity_of(objects[0]) for kind, objects in found.objects.items()}
    applied = {"s": Applied("f", identities)}
    assert observe(found, applied, {})["s"].fingerprint == "f"
    assert observe(found, {}, {})["s"].fingerprint is None, "another process applied it"
    for kind in KINDS:
        missing = Listed(objects={**found.objects, kind: []}, pods=found.pods, now=NOW)
        assert observe(missing, applied, {})["s"].fingerprint is None, kind
        edited = {"s": Applied("f", {**identities, kind: "u 6"})}
        assert observe(found, edited, {})["s"].fingerprint is None, kind


def test_a_pod_of_a_lost_node_does_not_keep_a_service() -> None:
    gone: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    assert observe(Listed(objects=gone, pods=[pod(ending=30.0)], now=NOW), {}, {})["s"].exists
    assert not observe(Listed(objects=gone, pods=[pod(ending=200.0)], now=NOW), {}, {})["s"].exists


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}, **more}]}


def ended(code: int, message: str = "", reason: str = "Error", restarts: int = 0) -> dict[str, Any]:
    terminated = {"exitCode": code, "message": message, "reason": reason}
    return waiting("CrashLoopBackOff", restartCount=restarts, lastState={"terminated": terminated})


def event(reason: str, message: str = "") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"uid": "pod"}, "lastTimestamp": "2026"}


UNSCHEDULED = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}]}
LOADING = '{"code": "DriverInitError", "message": "ValueError: no"}'
PULL = 'Failed to pull image "r/iris": rpc error: code = NotFound desc = failed to pull and unpack image "r/iris": '
CAUSES: list[tuple[dict[str, Any], list[Any], Cause | None]] = [
    (waiting("ContainerCreating"), [], None),
    (waiting("CrashLoopBackOff"), [], None),
    (
        waiting("ImagePullBackOff", "Back-off pulling image"),
        [event("Failed", PULL + "r/iris: not found"), event("Failed", "Error: ErrImagePull")],
        Cause("ImagePullFailed", "The image cannot be pulled: r/iris: not found.", is_certain=True),
    ),
    (
        waiting("ErrImagePull", "dial tcp: i/o timeout"),
        [],
        Cause("ImagePullFailed", "The image cannot be pulled: dial tcp: i/o timeout."),
    ),
    (
        waiting("InvalidImageName", "couldn't parse"),
        [],
        Cause("InvalidImageName", "The image cannot be pulled: its name is not valid: couldn't parse", is_certain=True),
    ),
    (
        waiting("CreateContainerConfigError", 'secret "x" not found'),
        [],
        Cause("CreateContainerConfigError", 'The container cannot be created: secret "x" not found', is_certain=True),
    ),
    (ended(3, LOADING), [], Cause("DriverInitError", "ValueError: no", is_certain=True)),
    (ended(3, "line\nSchemaError: bad\n"), [], Cause("DriverInitError", "SchemaError: bad", is_certain=True)),
    (
        ended(137, reason="OOMKilled"),
        [],
        Cause("OutOfMemory", "The pod exceeded its reserved memory of 64Mi.", is_certain=True),
    ),
    (ended(1, "a\nlast"), [], Cause("PodExited", "The pod ended by itself with exit code 1; its last line: last.")),
    (ended(1, restarts=2), [], Cause("PodExited", "The pod ended by itself with exit code 1.", is_certain=True)),
    (
        UNSCHEDULED,
        [event("FailedScheduling")],
        Cause("NoRoom", "No node has room for a pod (2 cpu): 0/1 nodes: Insufficient cpu. Free: 1 cpu.", True),
    ),
    (
        UNSCHEDULED,
        [event("FailedScheduling"), event("TriggeredScaleUp")],
        Cause("NoRoom", "No node has room for a pod (2 cpu): 0/1 nodes: Insufficient cpu. Free: 1 cpu."),
    ),
]


@pytest.mark.parametrize(("status", "events", "cause"), CAUSES)
def test_a_cause_is_one_sentence(status: dict[str, Any], events: list[Any], cause: Cause | None) -> None:
    assert cause_of(deployment(), [pod(**status)], events, "1 cpu") == cause


def test_a_quota_refuses_pods() -> None:
    message = 'pods "iris-x" is forbidden: exceeded quota: small, requested: cpu=2, used: cpu=0, limited: cpu=1'
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    found = cause_of(deployment(conditions=[condition]), [], [], None)
    assert found is not None
    assert (found.code, found.is_certain) == ("QuotaExceeded", True)
    assert found.message == f"The cluster refuses pods: {message.partition('forbidden: ')[2]}."


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", 0.5), ("2", 2.0), ("1e3", 1000.0), ("64Mi", 2.0**26), ("5Ei", 5 * 2.0**60), ("1k", 1e3)],
)
def test_quantities_of_kubernetes(text: str, number: float) -> None:
    assert quantity(text) == number


def test_room_is_what_pods_leave() -> None:
    node = {"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}
    asking = {"resources": {"requests": {"cpu": "500m", "memory": "256Mi"}}}
    pods = [
        {"spec": {"nodeName": name, "containers": [asking]}, "status": {"phase": phase}}
        for name, phase in (("n1", "Running"), ("n1", "Succeeded"), ("n2", "Running"))
    ]
    assert describe_room([node], pods) == "1.5 cpu, 768Mi memory on n1"


def test_pods_that_start_say_their_stage() -> None:
    def starting(uid: str, node: str | None, **status: Any) -> dict[str, Any]:
        made = pod(ready=False, **status)
        return {"metadata": {**made["metadata"], "uid": uid}, "spec": {"nodeName": node}, "status": made["status"]}

    creating = {"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
    running = {"containerStatuses": [{"state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}]}
    pods = [
        starting("a", None),
        starting("b", "n1", **creating),
        starting("c", "n1", **creating),
        starting("d", "n2", **creating),
        starting("e", "n2", **running),
    ]
    events = [{"reason": why, "involvedObject": {"uid": uid}} for uid, why in (("b", "Pulling"), ("c", "Pulling"))]
    shown = "1 waiting for a node, 2 pulling the image, 1 starting, 1 loading the driver"
    assert waiting_of(pods, events) == shown
    pulled = [*events, {"reason": "Pulled", "involvedObject": {"uid": "b"}}]
    assert waiting_of(pods[1:3], pulled) == "1 starting, 1 pulling the image"
    assert waiting_of([], events) == ""
    seen = observe(listed(pod(), pod(ready=False), wanted=2), {}, {})["s"]
    assert (seen.ready, seen.waiting) == (1, "1 waiting for a node")
