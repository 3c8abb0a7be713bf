"""Check that a cluster can run services: that it responds, credentials, namespace, permissions, registry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.registry import check_registry
from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.declared.protocol import Cause
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection

__all__ = ["find_problem", "needed_permissions"]

_AT_ONCE = 8
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_OBJECT_VERBS = ("get", "list", "create", "patch", "delete")
_NEEDED = (
    ("", "secrets", "", _OBJECT_VERBS),
    ("", "services", "", _OBJECT_VERBS),
    ("apps", "deployments", "", _OBJECT_VERBS),
    ("policy", "poddisruptionbudgets", "", _OBJECT_VERBS),
    ("", "pods", "", ("get", "list", "patch")),
    ("", "pods", "log", ("get",)),
    ("", "pods", "proxy", ("get",)),
    ("", "events", "", ("list",)),
    ("apps", "deployments", "scale", ("patch",)),
)
_TO_EXPOSE = ("networking.k8s.io", "ingresses", "", _OBJECT_VERBS)
_TO_SCALE = ("autoscaling", "horizontalpodautoscalers", "", _OBJECT_VERBS)
_TO_FORWARD = ("", "pods", "portforward", ("get", "create"))
"""The client opens a WebSocket, which is a `get`; since Kubernetes 1.35, the cluster also asks for `create`."""


def needed_permissions(settings: ClusterSettings) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Return the permissions that a cluster with these settings needs: API group, resource, subresource, and verbs."""
    needed = [*_NEEDED]
    needed += [_TO_FORWARD] if settings.reach == "port-forward" else []
    needed += [_TO_SCALE] if settings.hpa else []
    needed += [_TO_EXPOSE] if settings.expose == "ingress" else []
    return needed


def find_problem(connection: Connection, settings: ClusterSettings, registry: str | None) -> Cause | None:
    """Return why services cannot run on a cluster, or None.

    Args:
        registry: the registry that images are pushed to.
    """
    try:
        namespace = connection.namespace
        # Alone and first: if the API server does not respond, the threads below would hold up the end of the process.
        may_exist = _may_exist(connection, namespace)
        denied = list(_denied(connection, namespace, settings))
        if denied:
            message = f"The credentials lack permissions in namespace {namespace!r}: {', '.join(denied)}."
            return Cause("Forbidden", message)
        if not may_exist:
            return Cause("NoNamespace", f"The cluster has no namespace {namespace!r}.")
        if registry is None:
            message = (
                "No registry is configured for its images (registry in the settings of the cluster, or --registry)."
            )
            return Cause("NoRegistry", message)
        check_registry(registry)
    except ClusterError as error:
        return Cause(error.code, error.message)
    except BuildError as error:
        return Cause(error.code, error.message)
    return None


def _denied(connection: Connection, namespace: str, settings: ClusterSettings) -> Iterator[str]:
    """Yield the missing permissions of the credentials, such as `create,patch deployments.apps`."""
    needed = needed_permissions(settings)
    asked = [(group, resource, subresource, verb) for group, resource, subresource, verbs in needed for verb in verbs]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        allowed = dict(zip(asked, pool.map(lambda each: _may(connection, namespace, *each), asked), strict=True))
    for group, resource, subresource, verbs in needed:
        missing = [verb for verb in verbs if not allowed[group, resource, subresource, verb]]
        if missing:
            name = resource + (f"/{subresource}" if subresource else "") + (f".{group}" if group else "")
            yield f"{','.join(missing)} {name}"


def _may(connection: Connection, namespace: str, group: str, resource: str, subresource: str, verb: str) -> bool:
    asked = {"namespace": namespace, "group": group, "resource": resource, "subresource": subresource, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {name: value for name, value in asked.items() if value}},
    }
    return bool(connection.request("POST", _REVIEWS, review)["status"]["allowed"])


def _may_exist(connection: Connection, namespace: str) -> bool:
    """Return False if the namespace does not exist; True if that cannot be read."""
    try:
        connection.request("GET", f"/api/v1/namespaces/{namespace}")
    except ClusterError as error:
        if error.is_away:
            raise
        return error.status != 404
    return True
