"""Apply, list and delete the objects of a state folder in a cluster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from mlmgmt_nb.service.compute.kubernetes.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.naming import FIELD_MANAGER, HOME, SERVICE, home_selector
from mlmgmt_nb.service.compute.kubernetes.objects import KINDS
from mlmgmt_nb.service.compute.kubernetes.observation import Listed, needs_explanation
from mlmgmt_nb.service.compute.kubernetes.room import describe_room

__all__ = ["VERSIONS", "ObjectsApi"]

Object = dict[str, Any]

VERSIONS = {
    "Secret": ("v1",),
    "Service": ("v1",),
    "Deployment": ("apps/v1",),
    "PodDisruptionBudget": ("policy/v1", "policy/v1beta1"),
}
"""API versions of the kinds, the best first."""
_WITHOUT_CONTENTS = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class ObjectsApi:
    """The objects of a state folder in a namespace.

    Args:
        home: id of the state folder.
    """

    def __init__(self, connection: Connection, home: str) -> None:
        self._connection = connection
        self._home = home
        self._may_see_nodes = True

    def apply(self, wanted: Object, on_conflict: Callable[[str], None]) -> Object:
        """Have an object be as wanted, and return it. Fields that others set and we do not name stay.

        Args:
            on_conflict: called with the reason if somebody else changed one of our fields, which is put right.

        Raises:
            ClusterError: the cluster refused it, or an object of somebody else has its name.
        """
        name, kind = wanted["metadata"]["name"], wanted["kind"]
        path = self._connection.path(kind, VERSIONS[kind], name)
        self._check_owner(path, kind, name)
        body = {**wanted, "apiVersion": _version_of(path)}
        options = {"content_type": _APPLY, "field_manager": FIELD_MANAGER}
        try:
            applied: Object = self._connection.request("PATCH", path, body, force_conflicts=False, **options)
        except ClusterError as error:
            if error.status != 409 or not error.causes:
                raise
            applied = self._connection.request("PATCH", path, body, force_conflicts=True, **options)
            on_conflict(f"{kind} {name} was changed by somebody else ({'; '.join(error.causes)}); it is put right")
        return applied

    def _check_owner(self, path: str, kind: str, name: str) -> None:
        try:
            found = self._connection.request("GET", path, accept=_WITHOUT_CONTENTS.replace("List", ""))
        except ClusterError as error:
            if error.status == 404:
                return
            raise
        if found["metadata"].get("labels", {}).get(HOME) != self._home:
            message = f"The namespace has a {kind} {name} that is not ours. Remove it, or use another namespace."
            raise ClusterError("NameTaken", message, 422)

    def list(self) -> Listed:
        """Return everything of the state folder.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        selector = home_selector(self._home)
        objects = {kind: self._list(kind, VERSIONS[kind], selector) for kind in KINDS}
        listed = Listed(objects=objects, pods=self._list("Pod", ("v1",), selector), now=dt.datetime.now(dt.UTC))
        if not needs_explanation(listed):
            return listed
        events = self._list("Event", ("v1",), None)
        unscheduled = any(event.get("reason") == "FailedScheduling" for event in events)
        room = self._room() if unscheduled else None
        return Listed(objects=objects, pods=listed.pods, events=events, room=room, now=listed.now)

    def _list(self, kind: str, versions: tuple[str, ...], selector: str | None) -> Sequence[Object]:
        accept = _WITHOUT_CONTENTS if kind == "Secret" else "application/json"
        path = self._connection.path(kind, versions)
        listed = self._connection.request("GET", path, label_selector=selector, accept=accept)
        return listed["items"] or ()  # an empty list may be null

    def _room(self) -> str | None:
        """Return what nodes have left, if we may see it."""
        if not self._may_see_nodes:
            return None
        try:
            nodes = self._connection.request("GET", "/api/v1/nodes")["items"] or ()
            pods = (
                self._connection.request("GET", "/api/v1/pods", field_selector="status.phase!=Succeeded")["items"] or ()
            )
        except ClusterError as error:
            if error.is_away:
                raise
            self._may_see_nodes = False
            return None
        return describe_room(nodes, pods)

    def delete(self, service_id: str) -> None:
        """Delete the objects of a service, and with them its pods.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        selector = f"{home_selector(self._home)},{SERVICE}={service_id}"
        for kind in reversed(KINDS):
            for found in self._list(kind, VERSIONS[kind], selector):
                self._delete(kind, found)

    def _delete(self, kind: str, found: Object) -> None:
        path = self._connection.path(kind, VERSIONS[kind], found["metadata"]["name"])
        # Whatever has this name by then: only the object that was listed is ours.
        options = {"preconditions": {"uid": found["metadata"]["uid"]}, "propagationPolicy": "Background"}
        try:
            self._connection.request("DELETE", path, options)
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise

    def annotate_pod(self, name: str, annotation: str, value: str) -> None:
        """Set an annotation of a pod.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        path = self._connection.path("Pod", ("v1",), name)
        body = {"metadata": {"annotations": {annotation: value}}}
        self._connection.request("PATCH", path, body, content_type=_MERGE, field_manager=FIELD_MANAGER)


def _version_of(path: str) -> str:
    """Return the API version in a path: `/apis/apps/v1/...` or `/api/v1/...`."""
    parts = path.strip("/").split("/")
    return "/".join(parts[1:3]) if parts[0] == "apis" else parts[1]
