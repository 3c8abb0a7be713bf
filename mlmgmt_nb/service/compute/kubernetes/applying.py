"""The instructions of the supervisor for a cluster, applied in its thread, and again after refusals."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from mlmgmt_nb.service.compute.declared.protocol import Cause, Declaration
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError
from mlmgmt_nb.service.compute.kubernetes.api.objects_api import ObjectsApi
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE, object_name
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import Object, declared_fingerprint
from mlmgmt_nb.service.compute.kubernetes.declaring.versions import OPTIONAL
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Applied, Listed, identity_of

__all__ = ["Applier"]

_RETRY_SECONDS = 2.0
"""Seconds until a declaration or a removal that the cluster refused is tried again."""
_REPEAT_SECONDS = 60.0
"""Seconds until the log of a service repeats the same refusal."""


class Applier:
    """Applies declarations, numbers of replicas and removals.

    Args:
        build: returns the objects of a declaration.
        before_sleep: called before the last pod of a service ends.
        note: writes a line to the log of a service.

    Attributes:
        wanted: the last declaration of each service.
        applied: the declarations that this process applied.
        refused: the fingerprints of declarations that the cluster refused, with the cause.
    """

    def __init__(
        self,
        objects: ObjectsApi,
        build: Callable[[Declaration], list[Object]],
        before_sleep: Callable[[str], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._objects = objects
        self._build = build
        self._before_sleep = before_sleep
        self._note = note
        self._lock = threading.Lock()
        self.wanted: dict[str, Declaration] = {}
        self.applied: dict[str, Applied] = {}
        self.refused: dict[str, tuple[str, Cause]] = {}
        self._pending: set[str] = set()
        self._scales: dict[str, int] = {}
        self._unwanted: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._remove_at: dict[str, float] = {}
        self._noted: dict[str, tuple[str, float]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether work remains, other than removals that the cluster refused a moment ago."""
        return bool(self._pending or self._scales or self._due_removals())

    def declare(self, declaration: Declaration) -> bool:
        """Queue a declaration; return whether it may be applied now."""
        service_id = declaration.service_id
        with self._lock:
            if self.wanted.get(service_id) != declaration:
                self._retry_at.pop(service_id, None)
            self.wanted[service_id] = declaration
            self._pending.add(service_id)
            self._unwanted.discard(service_id)
            return time.monotonic() >= self._retry_at.get(service_id, 0.0)

    def scale(self, service_id: str, replicas: int) -> bool:
        """Queue a number of replicas; return whether it is new."""
        with self._lock:
            declared = self.wanted.get(service_id)
            if declared is None or self._scales.get(service_id) == replicas:
                return False
            self.wanted[service_id] = msgspec.structs.replace(declared, replicas=replicas)
            self._scales[service_id] = replicas
            return True

    def remove(self, service_id: str) -> bool:
        """Queue the removal of a service; return whether it is new."""
        with self._lock:
            is_new = service_id not in self._unwanted
            self._unwanted.add(service_id)
            self._pending.discard(service_id)
            for known in (self.wanted, self._scales, self.refused):
                known.pop(service_id, None)
            return is_new

    def has(self, service_id: str, fingerprint: str) -> bool:
        """Return whether a declaration is in force."""
        applied = self.applied.get(service_id)
        return applied is not None and applied.fingerprint == fingerprint and service_id not in self._pending

    def run(self) -> None:
        """Apply everything that is due now. What the cluster refuses for one service does not stop the others.

        Raises:
            ClusterError: the cluster does not respond.
        """
        self._apply_all(self._due())
        for service_id, replicas in list(self._scales.items()):
            self._apply_scale(service_id, replicas)
        for service_id in self._due_removals():
            self._delete(service_id)

    def _due(self) -> list[Declaration]:
        with self._lock:
            moment = time.monotonic()
            due = [id_ for id_ in self._pending if moment >= self._retry_at.get(id_, 0.0)]
            self._pending.difference_update(due)
            return [self.wanted[id_] for id_ in due if id_ in self.wanted]

    def _apply_all(self, due: Sequence[Declaration]) -> None:
        """Apply declarations; queue those again that are left when the cluster does not respond."""
        left = deque(due)
        try:
            while left:
                if left[0].service_id in self.wanted:  # still, and after a stop
                    self._apply(left[0])
                left.popleft()
        finally:
            with self._lock:
                # Meanwhile, some may have been removed, or declared anew.
                self._pending.update(each.service_id for each in left if each.service_id in self.wanted)

    def _due_removals(self) -> list[str]:
        with self._lock:
            moment = time.monotonic()
            return [service_id for service_id in self._unwanted if moment >= self._remove_at.get(service_id, 0.0)]

    def _apply(self, declaration: Declaration) -> None:
        """Apply the objects of a declaration; store the resulting objects, or why the cluster refused."""
        service_id, objects = declaration.service_id, self._build(declaration)
        fingerprint = declared_fingerprint(objects)
        try:
            done = {
                each["kind"]: self._objects.apply(each, lambda text: self._note(service_id, text)) for each in objects
            }
            if surplus := OPTIONAL - done.keys():
                self._objects.delete(service_id, surplus)
        except ClusterError as error:
            if error.is_away:
                raise
            self.refused[service_id] = fingerprint, Cause(error.code, error.message, is_certain=error.is_lasting)
            self._retry_at[service_id] = time.monotonic() + _RETRY_SECONDS
            return
        self.refused.pop(service_id, None)
        is_scaled = declaration.bounds is not None
        identities = {kind: identity_of(found, is_scaled=is_scaled) for kind, found in done.items()}
        self.applied[service_id] = Applied(fingerprint, identities, is_scaled)

    def _apply_scale(self, service_id: str, replicas: int) -> None:
        declared = self.wanted.get(service_id)
        try:
            if declared is not None:
                if replicas == 0:
                    self._before_sleep(service_id)
                self._objects.scale(object_name(declared.name, service_id), replicas)
        except ClusterError as error:
            if error.is_away:
                raise
            # Decided again in the next round, as long as it is necessary.
            self._note_refusal(service_id, f"the number of replicas cannot be changed: {error.message}")
        with self._lock:
            if self._scales.get(service_id) == replicas:
                del self._scales[service_id]

    def _delete(self, service_id: str) -> None:
        try:
            self._objects.delete(service_id)
        except ClusterError as error:
            if error.is_away:
                raise
            self._note_refusal(service_id, f"the service cannot be removed from the cluster: {error.message}")
            self._remove_at[service_id] = time.monotonic() + _RETRY_SECONDS

    def _note_refusal(self, service_id: str, text: str) -> None:
        """Write a line to the log of a service, unless it was written a moment ago."""
        before, noted_at = self._noted.get(service_id, ("", 0.0))
        if before != text or time.monotonic() - noted_at >= _REPEAT_SECONDS:
            self._noted[service_id] = text, time.monotonic()
            self._note(service_id, text)

    def forget_removed(self, listed: Listed) -> Sequence[str]:
        """Forget services of which nothing is left, and return them."""
        left = {each["metadata"]["labels"].get(SERVICE) for found in listed.objects.values() for each in found}
        with self._lock:
            self._unwanted &= left
            for known in (self._remove_at, self._noted):
                for service_id in known.keys() - left - self.wanted.keys():
                    del known[service_id]
            gone = [service_id for service_id in self.applied if service_id not in left | self.wanted.keys()]
            for service_id in gone:
                del self.applied[service_id]
        return gone

    def clear(self) -> None:
        """Forget everything; what was applied stays in the cluster."""
        for known in (self._pending, self._unwanted, self.wanted, self.applied):
            known.clear()
        for remembered in (self.refused, self._scales, self._retry_at, self._remove_at, self._noted):
            remembered.clear()
