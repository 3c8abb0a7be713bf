"""The objects of a service that runs in a cluster, as data.

The service has only the permissions in its namespace that compute `kubernetes` needs. It uses its service account, and
reaches pods by their cluster addresses. The objects name Secrets and do not contain them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.kubernetes.api.readiness import needed_permissions
from mlmgmt_nb.service.compute.kubernetes.declaring.restricted import container_security, pod_security
from mlmgmt_nb.service.http.health_paths import LIVE, READY

__all__ = ["OwnSettings", "build_manifests"]

Object = dict[str, Any]

_PORT = 8443
_VOLUME, _HOME, _CLUSTERS, _TLS = "/var/lib/mlmgmt", "/home/mlmgmt", "/etc/mlmgmt", "/etc/mlmgmt-tls"
_STATE = f"{_VOLUME}/state"
"""The state folder. The root of a volume belongs to the cluster, and a state folder has to belong to the service."""
_PROBE_SECONDS = 5
_PROGRAM = ("python3", "-m", "mlmgmt_nb.cli", "serve")


class OwnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the objects.

    Attributes:
        name: name of all objects.
        namespace: namespace of the objects, and of the services.
        image: image of the service.
        url: origin at which clients reach it; None for its name in the cluster.
        registry: registry that images are pushed to.
        registry_secret: Secret with the login for the registry, of the type `kubernetes.io/dockerconfigjson`.
        database_secret: Secret with the `url` of a PostgreSQL database and its `password`; None for SQLite.
        tls_secret: Secret with the certificate, of the type `kubernetes.io/tls`; None behind a proxy that terminates
            TLS.
        storage: size of the volume with the state folder; None for a folder that is removed with the pod.
        sign_in: flags of `mlmgmt serve` for sign-in; without them, only the token of the state folder is accepted.
        more: other flags of `mlmgmt serve`.
        cluster: settings of compute `kubernetes` of the service.
    """

    name: str = "mlmgmt"
    namespace: str
    image: str
    url: str | None = None
    registry: str
    registry_secret: str | None = None
    database_secret: str | None = None
    tls_secret: str | None = None
    storage: str | None = "20Gi"
    sign_in: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    cluster: ClusterSettings = ClusterSettings()


def build_manifests(settings: OwnSettings) -> list[Object]:
    """Return the objects, in the order of their creation."""
    objects = [
        _object(settings, "v1", "ServiceAccount"),
        _object(settings, "rbac.authorization.k8s.io/v1", "Role", rules=_rules(settings.cluster)),
        _role_binding(settings),
        _object(settings, "v1", "ConfigMap", data={"clusters.toml": _clusters(settings)}),
    ]
    if settings.storage is not None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
        objects.append(_object(settings, "v1", "PersistentVolumeClaim", spec=spec))
    return [*objects, _deployment(settings), _service(settings)]


def _object(settings: OwnSettings, version: str, kind: str, **content: Any) -> Object:
    metadata = {"name": settings.name, "namespace": settings.namespace, "labels": _labels(settings)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _labels(settings: OwnSettings) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "mlmgmt",
        "app.kubernetes.io/instance": settings.name,
        "app.kubernetes.io/component": "service",
    }


def _rules(cluster: ClusterSettings) -> list[Object]:
    """Return the permissions that compute `kubernetes` needs in its namespace."""
    return [
        {"apiGroups": [group], "resources": [f"{resource}/{sub}" if sub else resource], "verbs": list(verbs)}
        for group, resource, sub, verbs in needed_permissions(cluster)
    ]


def _role_binding(settings: OwnSettings) -> Object:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": settings.name}
    subject = {"kind": "ServiceAccount", "name": settings.name, "namespace": settings.namespace}
    return _object(settings, "rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=role, subjects=[subject])


def _clusters(settings: OwnSettings) -> str:
    import tomlkit

    given = msgspec.to_builtins(settings.cluster)
    defaults = msgspec.to_builtins(ClusterSettings(expose=settings.cluster.expose, host=settings.cluster.host))
    chosen = {name: value for name, value in given.items() if value != defaults[name] or name in {"expose", "host"}}
    table = {"namespace": settings.namespace, "registry": settings.registry, "reach": "cluster-ip", **chosen}
    if settings.registry_secret is not None:
        table.setdefault("image-pull-secrets", [settings.registry_secret])
    return tomlkit.dumps({"kubernetes": {name: value for name, value in table.items() if value is not None}})


def _deployment(settings: OwnSettings) -> Object:
    spec = {
        # Only one process may use the state folder. Pods of models continue to respond while it is replaced.
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _labels(settings)},
        "template": {"metadata": {"labels": _labels(settings)}, "spec": _pod(settings)},
    }
    return _object(settings, "apps/v1", "Deployment", spec=spec)


def _pod(settings: OwnSettings) -> Object:
    volumes = list(_volumes(settings))
    claim = {"persistentVolumeClaim": {"claimName": settings.name}} if settings.storage else {"emptyDir": {}}
    pull = {"imagePullSecrets": [{"name": settings.registry_secret}]} if settings.registry_secret else {}
    return {
        **pull,
        "serviceAccountName": settings.name,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": [_container(settings, volumes)],
        "volumes": [{"name": "state", **claim}, *({"name": name, **volume} for name, _, volume in volumes)],
    }


def _volumes(settings: OwnSettings) -> Iterable[tuple[str, str, Object]]:
    """Yield name, mount path and source of the volumes beside the state folder."""
    yield "tmp", "/tmp", {"emptyDir": {}}  # noqa: S108 - a folder of the pod
    yield "home", _HOME, {"emptyDir": {}}
    yield "clusters", _CLUSTERS, {"configMap": {"name": settings.name}}
    if settings.tls_secret is not None:
        yield "tls", _TLS, {"secret": {"secretName": settings.tls_secret}}
    if settings.registry_secret is not None:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        yield "docker", f"{_HOME}/.docker", {"secret": {"secretName": settings.registry_secret, "items": items}}


def _container(settings: OwnSettings, volumes: Sequence[tuple[str, str, Object]]) -> Object:
    mounts = [{"name": "state", "mountPath": _VOLUME}, *({"name": n, "mountPath": path} for n, path, _ in volumes)]
    return {
        "name": "mlmgmt",
        "image": settings.image,
        "command": [*_PROGRAM, *_flags(settings)],
        "env": [{"name": "HOME", "value": _HOME}, *_database(settings)],
        "ports": [{"name": "api", "containerPort": _PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": container_security(),
        "startupProbe": _probe(settings, LIVE, 5, failureThreshold=60),
        "readinessProbe": _probe(settings, READY, 5),
        "livenessProbe": _probe(settings, LIVE, 20),
        "volumeMounts": mounts,
    }


def _probe(settings: OwnSettings, path: str, seconds: int, **more: int) -> Object:
    get = {"path": path, "port": _PORT, "scheme": "HTTPS" if settings.tls_secret else "HTTP"}
    return {"httpGet": get, "periodSeconds": seconds, "timeoutSeconds": _PROBE_SECONDS, **more}


def _flags(settings: OwnSettings) -> list[str]:
    scheme = "https" if settings.tls_secret else "http"
    flags = ["--home", _STATE, "--host", "0.0.0.0", "--port", str(_PORT)]  # noqa: S104 - inside of a container
    flags += ["--public-url", settings.url or f"{scheme}://{settings.name}.{settings.namespace}.svc"]
    flags += ["--clusters", f"{_CLUSTERS}/clusters.toml", "--image-builder", "daemonless"]
    if settings.tls_secret is not None:
        flags += ["--tls-cert", f"{_TLS}/tls.crt", "--tls-key", f"{_TLS}/tls.key"]
    else:
        flags += ["--allow-plain-http"]
    return [*flags, *(settings.sign_in or ("--allow-shared-token",)), *settings.more]


def _database(settings: OwnSettings) -> Iterable[Object]:
    if settings.database_secret is not None:
        for variable, key in (("MLMGMT_DATABASE", "url"), ("PGPASSWORD", "password")):
            yield {"name": variable, "valueFrom": {"secretKeyRef": {"name": settings.database_secret, "key": key}}}


def _service(settings: OwnSettings) -> Object:
    port = 443 if settings.tls_secret else 80
    ports = [{"name": "api", "port": port, "targetPort": _PORT, "protocol": "TCP"}]
    return _object(settings, "v1", "Service", spec={"selector": _labels(settings), "ports": ports})
