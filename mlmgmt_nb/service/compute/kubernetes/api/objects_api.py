"""Apply, list and delete the objects of a state folder in a cluster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.api.free_room import FreeRoom
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import (
    FIELD_MANAGER,
    HOME,
    SERVICE,
    has_labels,
    home_selector,
    is_copy,
)
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import KINDS
from mlmgmt_nb.service.compute.kubernetes.declaring.versions import OPTIONAL, as_version
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed, lacks_node, needs_explanation

__all__ = ["ObjectsApi"]

Object = dict[str, Any]

_WITHOUT_CONTENTS = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_SCALER = f"{FIELD_MANAGER}-scale"
"""Field manager of the number of replicas, until the autoscaler of the cluster owns it."""


class ObjectsApi:
    """The objects of a state folder in a namespace.

    Args:
        home: id of the state folder.
    """

    def __init__(self, connection: Connection, home: str) -> None:
        self._connection = connection
        self._home = home
        self._room = FreeRoom(connection)

    def apply(self, wanted: Object, on_conflict: Callable[[str], None]) -> Object:
        """Apply an object, and return it. Fields that others set and we do not name stay.

        Args:
            on_conflict: called with the reason if somebody else changed one of our fields, which is then corrected.

        Raises:
            ClusterError: the cluster refused it, or an object of somebody else has its name.
        """
        name, kind = wanted["metadata"]["name"], wanted["kind"]
        path = self._connection.path(kind, name)
        found = self._check_owner(path, kind, name)
        body = as_version(wanted, _version_of(path))
        if kind == "Deployment" and "replicas" not in wanted["spec"] and found and _owns_replicas(found):
            self._release_replicas(path, body)
        options = {"content_type": _APPLY, "field_manager": FIELD_MANAGER}
        try:
            applied: Object = self._connection.request("PATCH", path, body, force_conflicts=False, **options)
        except ClusterError as error:
            if error.status != 409 or not error.causes:
                raise
            applied = self._connection.request("PATCH", path, body, force_conflicts=True, **options)
            on_conflict(f"{kind} {name} was changed by somebody else ({'; '.join(error.causes)}); it is put right")
        return applied

    def _check_owner(self, path: str, kind: str, name: str) -> Object | None:
        """Return the metadata of an object of ours, or None if it does not exist."""
        try:
            found: Object = self._connection.request("GET", path, accept=_WITHOUT_CONTENTS.replace("List", ""))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        if found["metadata"].get("labels", {}).get(HOME) != self._home:
            message = f"The namespace has a {kind} {name} that is not ours. Remove it, or use another namespace."
            raise ClusterError("NameTaken", message, 422)
        return found

    def _release_replicas(self, path: str, body: Object) -> None:
        """Keep the number of replicas when we no longer name it: a field without an owner gets its default."""
        replicas = self._connection.request("GET", path)["spec"]["replicas"]
        kept = {name: body[name] for name in ("apiVersion", "kind")} | {"metadata": {"name": body["metadata"]["name"]}}
        body = {**kept, "spec": {"replicas": replicas}}
        self._connection.request("PATCH", path, body, content_type=_APPLY, field_manager=_SCALER, force_conflicts=True)

    def scale(self, name: str, replicas: int) -> None:
        """Set the number of replicas of a Deployment.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        path = self._connection.path("Deployment", name)
        body = {"spec": {"replicas": replicas}}
        self._connection.request("PATCH", f"{path}/scale", body, content_type=_MERGE, field_manager=FIELD_MANAGER)

    def list(self, *, with_events: bool = False) -> Listed:
        """Return everything of the state folder.

        What lost a label of ours is left out: an object is then missing and applied again, which restores the label.

        Args:
            with_events: whether to list events even if there is nothing to explain.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        selector = home_selector(self._home)
        objects = {kind: list(filter(has_labels, self._list_own(kind, selector))) for kind in KINDS}
        pods = [pod for pod in self._list("Pod", selector) if SERVICE in pod["metadata"]["labels"]]
        listed = Listed(objects=objects, pods=pods, now=dt.datetime.now(dt.UTC))
        if not (with_events or needs_explanation(listed)):
            return listed
        events = self._list("Event", None)
        room = self._room.read() if any(map(lacks_node, pods)) else None
        return Listed(objects=objects, pods=listed.pods, events=events, room=room, now=listed.now)

    def _list_own(self, kind: str, selector: str) -> Sequence[Object]:
        """Return the objects of one of our kinds, without those that others made with our labels."""
        return [found for found in self._list(kind, selector) if not is_copy(found)]

    def _list(self, kind: str, selector: str | None) -> Sequence[Object]:
        accept = _WITHOUT_CONTENTS if kind == "Secret" else "application/json"
        try:
            path = self._connection.path(kind)
            listed = self._connection.request("GET", path, label_selector=selector, accept=accept)
        except ClusterError as error:
            if kind in OPTIONAL and error.status in {403, 404}:  # then no object of this kind is ours
                return ()
            raise
        return listed["items"] or ()  # an empty list may be null

    def delete(self, service_id: str, kinds: Collection[str] = KINDS) -> None:
        """Delete the objects of a service, or those of some kinds; the pods of a Deployment are deleted with it.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        selector = f"{home_selector(self._home)},{SERVICE}={service_id}"
        for kind in [kind for kind in reversed(KINDS) if kind in kinds]:
            for found in self._list_own(kind, selector):
                self._delete(kind, found)

    def _delete(self, kind: str, found: Object) -> None:
        path = self._connection.path(kind, found["metadata"]["name"])
        # Another object may have this name by now, which is not ours.
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
        path = self._connection.path("Pod", name)
        body = {"metadata": {"annotations": {annotation: value}}}
        self._connection.request("PATCH", path, body, content_type=_MERGE, field_manager=FIELD_MANAGER)


def _owns_replicas(found: Object) -> bool:
    """Return whether we set the number of replicas when we last applied a Deployment."""
    return any(
        entry.get("manager") == FIELD_MANAGER and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in found["metadata"].get("managedFields", [])
    )


def _version_of(path: str) -> str:
    """Return the API version in a path: `/apis/apps/v1/...` or `/api/v1/...`."""
    parts = path.strip("/").split("/")
    return "/".join(parts[1:3]) if parts[0] == "apis" else parts[1]
