"""A cluster as a compute: what it was told, and the thread that tells it and looks at it."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.declared.protocol import Cause, Declaration, Observation, ObservedService
from mlmgmt_nb.service.compute.kubernetes.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.directions import Directions
from mlmgmt_nb.service.compute.kubernetes.logs import PodLogs
from mlmgmt_nb.service.compute.kubernetes.naming import DECLARATION, KEYS, SERVICE
from mlmgmt_nb.service.compute.kubernetes.objects import build_objects
from mlmgmt_nb.service.compute.kubernetes.objects_api import ObjectsApi
from mlmgmt_nb.service.compute.kubernetes.observation import Applied, Listed, identity_of, observe, ready_pods
from mlmgmt_nb.service.compute.kubernetes.reach import PodReach
from mlmgmt_nb.service.compute.kubernetes.readiness import find_problem
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.files.logs import Log

__all__ = ["KubernetesCluster"]

log = logging.getLogger(__name__)

_BUSY_SECONDS, _CALM_SECONDS, _AWAY_SECONDS = 0.3, 2.0, 1.0
"""Seconds between looks: while a service changes, otherwise, and while the cluster does not respond."""
_RETRY_SECONDS = 2.0
"""Seconds until a declaration that the cluster refused is tried again."""
_CHECK_SECONDS = 30.0
_FIRST_CHECK_SECONDS = 10.0


class KubernetesCluster:
    """One cluster.

    Args:
        settings: its settings, with its registry.
        home: id of the state folder.
        folder: a folder for files about this cluster; created if needed.
        listeners: the ports of services.
        on_change: called when there is something new to observe.
        log_of: returns the log of a service.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        home: str,
        folder: Path,
        listeners: Listeners,
        on_change: Callable[[], None],
        log_of: Callable[[str], Log],
    ) -> None:
        self.settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._on_change = on_change
        self._log_of = log_of
        self._connection = Connection(settings, folder / "kinds.json")
        self._objects = ObjectsApi(self._connection, home)
        self._logs = PodLogs(self._connection, folder / "logs.json", log_of)
        self._reach = PodReach(self._connection, settings)
        self._directions = Directions(self._reach, listeners)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._wanted: dict[str, Declaration] = {}
        self._pending: set[str] = set()
        self._unwanted: set[str] = set()
        self._applied: dict[str, Applied] = {}
        self._refused: dict[str, tuple[str, Cause]] = {}
        self._retry_at: dict[str, float] = {}
        self._observation: Observation | None = None
        self._round_done = threading.Condition()
        self._problem: Cause | None = None
        self._checked_at = float("-inf")
        self._is_checked = threading.Event()
        self._is_observed = False
        self._thread: threading.Thread | None = None
        self._stopping = False

    # --- the compute ---------------------------------------------------------------------------------------------

    def fingerprint(self, declaration: Declaration) -> str:
        """Return the digest of all objects of a declaration."""
        found: str = self._build(declaration)[2]["metadata"]["annotations"][DECLARATION]
        return found

    def declare(self, declaration: Declaration) -> None:
        with self._lock:
            if self._wanted.get(declaration.service_id) != declaration:
                self._retry_at.pop(declaration.service_id, None)
            self._wanted[declaration.service_id] = declaration
            self._pending.add(declaration.service_id)
            self._unwanted.discard(declaration.service_id)
        if time.monotonic() >= self._retry_at.get(declaration.service_id, 0.0):
            self._wake.set()

    def remove(self, service_id: str) -> None:
        with self._lock:
            known = service_id in self._unwanted
            self._unwanted.add(service_id)
            self._wanted.pop(service_id, None)
            self._pending.discard(service_id)
            self._refused.pop(service_id, None)
        if not known:
            self._wake.set()

    def observe(self) -> Observation | None:
        self._is_observed = True
        self._start()
        return self._observation

    def replace_keys(self, service_id: str, digests: Sequence[str], timeout: float) -> bool:
        declaration = self._wanted.get(service_id)
        if declaration is None:
            return False
        changed = msgspec.structs.replace(declaration, key_digests=list(digests))
        fingerprint = self.fingerprint(changed)
        self.declare(changed)
        with self._round_done:
            return self._round_done.wait_for(lambda: self._has(service_id, fingerprint), timeout)

    def _has(self, service_id: str, fingerprint: str) -> bool:
        applied = self._applied.get(service_id)
        return applied is not None and applied.fingerprint == fingerprint and service_id not in self._pending

    def open(self, service_id: str, port: int | None) -> int:
        opened = self._directions.open(service_id, port)
        self._wake.set()
        return opened

    def is_open(self, service_id: str) -> bool:
        return service_id in self._directions

    def close(self, service_id: str) -> None:
        self._directions.close(service_id)

    def stop(self) -> None:
        """Stop working here: pods and what was declared stay."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._directions.stop()
        self._stopping, self._is_observed, self._observation = False, False, None
        for known in (self._wanted, self._pending, self._unwanted, self._applied, self._refused, self._retry_at):
            known.clear()

    def problem(self) -> Cause | None:
        """Return why services cannot run here now, or None. Waits for the first check."""
        self._start()
        self._is_checked.wait(_FIRST_CHECK_SECONDS)
        if not self._is_checked.is_set():
            return Cause("Unreachable", f"The cluster has not responded for {_FIRST_CHECK_SECONDS:.0f} s.")
        away = self._observation.away if self._observation else None
        return away or self._problem

    # --- the thread ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                pause = self._round()
            except ClusterError as error:
                pause = self._leave(error)
            except Exception:
                # The thread must survive a failure in one round; the next one looks at the same state again.
                log.exception("a round with a cluster failed")
                pause = _AWAY_SECONDS
            with self._round_done:
                self._round_done.notify_all()
            self._wake.wait(pause)

    def _round(self) -> float:
        self._check()
        if not self._is_observed:
            return _CALM_SECONDS
        for declaration in self._due():
            self._apply(declaration)
        for service_id in list(self._unwanted):
            self._objects.delete(service_id)
        listed = self._objects.list()
        self._forget_removed(listed)
        self._directions.update(listed)
        self._publish(Observation(services=self._observed(listed)))
        self._renew_keys(listed)
        self._logs.copy(listed)
        assert self._observation is not None
        is_busy = self._unwanted or self._pending or any(not s.is_complete for s in self._observation.services.values())
        return _BUSY_SECONDS if is_busy else _CALM_SECONDS

    def _check(self) -> None:
        """Look for what the cluster lacks: often while it lacks something."""
        pause = _CHECK_SECONDS if self._problem is None else _RETRY_SECONDS
        if time.monotonic() - self._checked_at >= pause:
            self._problem = find_problem(self._connection, self.settings, self.settings.registry)
            if self._problem is not None:
                self._connection.reset()
            self._checked_at = time.monotonic()
            self._is_checked.set()

    def _due(self) -> list[Declaration]:
        with self._lock:
            moment = time.monotonic()
            due = [id_ for id_ in self._pending if moment >= self._retry_at.get(id_, 0.0)]
            self._pending.difference_update(due)
            return [self._wanted[id_] for id_ in due]

    def _apply(self, declaration: Declaration) -> None:
        """Apply the objects of a declaration; remember what the cluster made of them, or why it refused."""
        service_id, objects = declaration.service_id, self._build(declaration)
        fingerprint: str = objects[2]["metadata"]["annotations"][DECLARATION]
        try:
            done = {
                each["kind"]: self._objects.apply(each, lambda text: self._note(service_id, text)) for each in objects
            }
        except ClusterError as error:
            if error.is_away:
                self._pending.add(service_id)
                raise
            self._refused[service_id] = fingerprint, Cause(error.code, error.message, is_certain=error.is_lasting)
            self._retry_at[service_id] = time.monotonic() + _RETRY_SECONDS
            return
        self._refused.pop(service_id, None)
        self._applied[service_id] = Applied(fingerprint, {kind: identity_of(found) for kind, found in done.items()})

    def _note(self, service_id: str, text: str) -> None:
        self._log_of(service_id).line(f"[mlmgmt] {text}")

    def _build(self, declaration: Declaration) -> list[dict[str, Any]]:
        return build_objects(declaration, self.settings, self._home, has_node_port=self._reach.uses_node_ports)

    def _forget_removed(self, listed: Listed) -> None:
        left = {each["metadata"]["labels"].get(SERVICE) for found in listed.objects.values() for each in found}
        with self._lock:
            self._unwanted &= left
            for service_id in set(self._applied) - left - set(self._wanted):
                del self._applied[service_id]

    def _publish(self, observation: Observation) -> None:
        if observation != self._observation:
            self._observation = observation
            self._on_change()

    def _leave(self, error: ClusterError) -> float:
        """Note that the cluster does not respond, or lets us do nothing, and since when."""
        self._connection.reset()
        before = self._observation
        since = before.away_since if before and before.away_since else dt.datetime.now(dt.UTC)
        services = before.services if before else {}
        cause = Cause(error.code, error.message)
        self._publish(Observation(services=services, away=cause, away_since=since))
        return _AWAY_SECONDS

    def _observed(self, listed: Listed) -> dict[str, ObservedService]:
        """Return the services. One is complete only when requests from here get to its pods."""
        services = observe(listed, self._applied, self._refused)
        for service_id, seen in services.items():
            obstacle = self._directions.obstacle(service_id)
            if seen.is_complete and seen.replicas and obstacle is not None:
                cause = Cause("Unreachable", obstacle)
                services[service_id] = msgspec.structs.replace(seen, is_complete=False, cause=cause)
        return services

    def _renew_keys(self, listed: Listed) -> None:
        """Have kubelets renew the mounted keys of pods at once, instead of within a minute or two."""
        versions = {
            each["metadata"]["labels"][SERVICE]: each["metadata"]["resourceVersion"]
            for each in listed.objects["Secret"]
        }
        for pod in ready_pods(listed.pods):
            metadata = pod["metadata"]
            version = versions.get(metadata["labels"][SERVICE])
            if version is not None and metadata.get("annotations", {}).get(KEYS) != version:
                self._annotate(metadata["name"], version)

    def _annotate(self, pod: str, version: str) -> None:
        try:
            self._objects.annotate_pod(pod, KEYS, version)
        except ClusterError as error:
            if error.is_away:
                raise
            log.debug("pod %s cannot be annotated: %s", pod, error)  # it may have ended
