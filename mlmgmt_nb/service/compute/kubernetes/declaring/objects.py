"""The objects of a declaration, as data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from mlmgmt_nb.service.building.docker.dockerfile import COMMAND, SCORING_PORT
from mlmgmt_nb.service.cluster_settings import ClusterSettings, ClusterSettingsError
from mlmgmt_nb.service.compute.declared.protocol import Bounds, Declaration
from mlmgmt_nb.service.compute.kubernetes.declaring.exposing import ingress, port_of, service_type
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import (
    CONTAINER,
    DECLARATION,
    DEPLOYMENT,
    labels,
    object_name,
    selector,
)
from mlmgmt_nb.service.compute.kubernetes.declaring.pod_fields import PodFieldsError, merged
from mlmgmt_nb.service.compute.kubernetes.declaring.restricted import container_security, pod_security

__all__ = [
    "KINDS",
    "STATS_PORT",
    "Object",
    "build_objects",
    "check_pod_fields",
    "declared_fingerprint",
    "fingerprint_of",
    "pulled_image",
]

Object = dict[str, Any]

KINDS = ("Secret", "Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress")
"""The kinds of objects of services, in the order in which they are applied. The last ones are optional."""
STATS_PORT = 5002
"""Port of pods that returns their counters. No Service leads to it."""

_MOUNT = "/var/run/mlmgmt"
_KEYS = "keys"
_HOME_FOLDER = "/home/mlmgmt"
_PRE_STOP_SECONDS = 4
"""Seconds that a terminating pod still accepts connections, until every node knows that it terminates."""
_SPARE_SECONDS = 5
_PROBE = {"httpGet": {"path": "/", "port": SCORING_PORT}, "timeoutSeconds": 5}
_LIVENESS_SECONDS = 10


def build_objects(
    declaration: Declaration, settings: ClusterSettings, home: str, *, needs_node_port: bool
) -> list[Object]:
    """Return the objects of a service, in the order of `KINDS`.

    Args:
        home: id of the state folder.
        needs_node_port: whether requests from this machine reach the service by a port of every node.
    """
    if declaration.is_candidate:
        settings = settings.unexposed()
    name = object_name(declaration.name, declaration.service_id)
    metadata = {"name": name, "labels": labels(declaration.name, declaration.service_id, home)}
    objects = [
        _secret(declaration, metadata),
        _service(declaration, settings, metadata, needs_node_port=needs_node_port),
        _deployment(declaration, settings, metadata),
        _budget(declaration, metadata),
    ]
    if declaration.bounds is not None and settings.hpa:
        objects.append(_autoscaler(declaration.bounds, metadata))
    if settings.expose == "ingress":
        objects.append(ingress(declaration.name, {**metadata, "annotations": settings.annotations}, settings))
    objects[2]["metadata"] = {**metadata, "annotations": {DECLARATION: fingerprint_of(objects)}}
    if declaration.bounds is not None and not settings.hpa:
        objects[2]["spec"]["replicas"] = declaration.replicas
    return objects


def check_pod_fields(settings: ClusterSettings) -> None:
    """Raise ClusterSettingsError if the fields that an operator adds to pods change fields of ours."""
    sample = Declaration(
        service_id="sample",
        deployment_id="sample",
        name="sample",
        image="sample",
        replicas=1,
        key_digests=[],
        environment={},
        secrets={},
        slots=1,
        cpu="1",
        memory="1Gi",
        start_seconds=1.0,
        drain_seconds=1.0,
        hang_seconds=1.0,
    )
    try:
        _deployment(sample, settings, {"name": "sample", "labels": labels("sample", "sample", "sample")})
    except PodFieldsError as error:
        raise ClusterSettingsError(f"pod-fields: {error}.") from error


def declared_fingerprint(objects: list[Object]) -> str:
    """Return the fingerprint that is part of the objects of a declaration."""
    found: str = objects[KINDS.index("Deployment")]["metadata"]["annotations"][DECLARATION]
    return found


def fingerprint_of(objects: list[Object]) -> str:
    """Return a digest of objects. Random keys are part of it, so secrets cannot be guessed from it."""
    bare = [_without_fingerprint(each) for each in objects]
    return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()[:32]


def _without_fingerprint(wanted: Object) -> Object:
    metadata = {name: value for name, value in wanted["metadata"].items() if name != "annotations"}
    return {**wanted, "metadata": metadata} if wanted["kind"] == "Deployment" else wanted


def pulled_image(image: str, settings: ClusterSettings) -> str:
    """Return the reference by which the nodes pull an image."""
    if settings.registry and settings.pull_registry and image.startswith(f"{settings.registry}/"):
        return settings.pull_registry + image.removeprefix(settings.registry)
    return image


def _secret(declaration: Declaration, metadata: Object) -> Object:
    values = {_KEYS: "\n".join(declaration.key_digests)}
    for deployment_id, secrets in declaration.secrets.items():
        values |= {_secret_key(deployment_id, name): value for name, value in secrets.items()}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def _secret_key(deployment_id: str, variable: str) -> str:
    return f"{deployment_id}.{variable}"


def _service(declaration: Declaration, settings: ClusterSettings, metadata: Object, *, needs_node_port: bool) -> Object:
    spec = {
        "type": service_type(settings, needs_node_port=needs_node_port),
        "selector": selector(declaration.service_id),
        "ports": [{"name": "http", "port": port_of(settings), "targetPort": SCORING_PORT, "protocol": "TCP"}],
    }
    annotations = {"annotations": settings.annotations} if settings.expose in {"nodeport", "loadbalancer"} else {}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**metadata, **annotations}, "spec": spec}


def _budget(declaration: Declaration, metadata: Object) -> Object:
    # A drain of a node may evict one pod at a time; with a minimum, a node with the only pod could never be drained.
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector(declaration.service_id)}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def _autoscaler(bounds: Bounds, metadata: Object) -> Object:
    target = {"type": "Utilization", "averageUtilization": bounds.percent}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
        "minReplicas": bounds.fewest,
        "maxReplicas": bounds.most,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def _deployment(declaration: Declaration, settings: ClusterSettings, metadata: Object) -> Object:
    pod_labels = {**metadata["labels"], DEPLOYMENT: declaration.deployment_id}
    # That of an autoscaled service is not part of the fingerprint, and not ours if the cluster scales it.
    fixed = {"replicas": declaration.replicas} if declaration.bounds is None else {}
    spec = {
        **fixed,
        "revisionHistoryLimit": 2,
        # Ours comes first, and explains why.
        "progressDeadlineSeconds": int(declaration.start_seconds) + 300,
        "selector": {"matchLabels": selector(declaration.service_id)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": merged(
            {"metadata": {"labels": pod_labels}, "spec": _pod(declaration, settings)}, settings.pod_fields
        ),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _pod(declaration: Declaration, settings: ClusterSettings) -> Object:
    volumes: list[Object] = [
        {"name": "keys", "secret": {"secretName": _name(declaration), "items": [{"key": _KEYS, "path": _KEYS}]}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "home", "emptyDir": {}},
    ]
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(declaration.service_id)},
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _PRE_STOP_SECONDS + int(declaration.drain_seconds) + _SPARE_SECONDS,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [spread],
        "containers": [_container(declaration, settings)],
        "volumes": volumes,
    }
    chosen = {
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "nodeSelector": settings.node_selector,
        "tolerations": list(settings.tolerations),
    }
    return pod | {field: value for field, value in chosen.items() if value}


def _container(declaration: Declaration, settings: ClusterSettings) -> Object:
    command = [*COMMAND, "--host", "0.0.0.0", "--port", str(SCORING_PORT)]  # noqa: S104 - inside of a container
    command += ["--name", declaration.service_name, "--concurrency", str(declaration.slots)]
    command += ["--keys-file", f"{_MOUNT}/{_KEYS}", "--failure-file", "/dev/termination-log"]
    command += ["--stats-port", str(STATS_PORT)]
    wait = ["python3", "-c", f"import time; time.sleep({_PRE_STOP_SECONDS})"]
    return {
        "name": CONTAINER,
        "image": pulled_image(declaration.image, settings),
        "command": [_escaped(word) for word in command],
        "env": _environment(declaration),
        "ports": [{"name": "http", "containerPort": SCORING_PORT, "protocol": "TCP"}],
        "resources": _resources(declaration, settings),
        "securityContext": container_security(read_only_root=settings.read_only_root),
        "startupProbe": {**_PROBE, "periodSeconds": 1, "failureThreshold": max(1, int(declaration.start_seconds))},
        "readinessProbe": {**_PROBE, "periodSeconds": 1, "failureThreshold": 3},
        "livenessProbe": {
            **_PROBE,
            "periodSeconds": _LIVENESS_SECONDS,
            "failureThreshold": max(1, round(declaration.hang_seconds / _LIVENESS_SECONDS)),
        },
        "lifecycle": {"preStop": {"exec": {"command": wait}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "keys", "mountPath": _MOUNT, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a folder of the pod's own
            {"name": "home", "mountPath": _HOME_FOLDER},
        ],
    }


def _environment(declaration: Declaration) -> list[Object]:
    plain = [{"name": name, "value": _escaped(value)} for name, value in sorted(declaration.environment.items())]
    own: Mapping[str, str] = declaration.secrets.get(declaration.deployment_id, {})
    hidden = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": _name(declaration), "key": key}}}
        for name, key in ((name, _secret_key(declaration.deployment_id, name)) for name in sorted(own))
    ]
    return plain + hidden


def _resources(declaration: Declaration, settings: ClusterSettings) -> Object:
    reserved = {"cpu": declaration.cpu, "memory": declaration.memory}
    amounts = {name: amount for name, amount in reserved.items() if amount is not None}
    if settings.gpus:
        amounts["nvidia.com/gpu"] = str(settings.gpus)
    return {"requests": amounts, "limits": amounts} if amounts else {}


def _name(declaration: Declaration) -> str:
    return object_name(declaration.name, declaration.service_id)


def _escaped(text: str) -> str:
    """Keep Kubernetes from replacing `$(NAME)` in a text."""
    return text.replace("$(", "$$(")
