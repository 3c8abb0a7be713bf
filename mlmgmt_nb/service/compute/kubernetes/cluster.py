"""A cluster as a compute: its instructions, and the thread that applies them and observes the cluster."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.declared.protocol import NOTHING, Cause, Declaration, Observation, ObservedService
from mlmgmt_nb.service.compute.forwarding.relayed_connection import Take
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.api.objects_api import ObjectsApi
from mlmgmt_nb.service.compute.kubernetes.api.readiness import find_problem
from mlmgmt_nb.service.compute.kubernetes.applying import Applier
from mlmgmt_nb.service.compute.kubernetes.declaring.exposing import url_of
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import CANDIDATE, COMPONENT, KEYS, NAME, SERVICE
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import build_objects, check_pod_fields, declared_fingerprint
from mlmgmt_nb.service.compute.kubernetes.observing.logs import PodLogs
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed, observe, ready_pods
from mlmgmt_nb.service.compute.kubernetes.observing.pod_stats import PodStats
from mlmgmt_nb.service.compute.kubernetes.reaching.directions import Directions
from mlmgmt_nb.service.compute.kubernetes.reaching.reach import PodReach
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.compute.measures import Counters, Load
from mlmgmt_nb.service.compute.observed import ReplicaState
from mlmgmt_nb.service.files.logs import Log

__all__ = ["KubernetesCluster"]

log = logging.getLogger(__name__)

_BUSY_SECONDS, _CALM_SECONDS, _AWAY_SECONDS = 0.3, 2.0, 1.0
"""Seconds between looks: while a service changes, otherwise, and while the cluster does not respond."""
_CHECK_SECONDS, _RECHECK_SECONDS = 30.0, 2.0
"""Seconds between checks that the cluster can run services, and while it cannot."""
_FIRST_CHECK_SECONDS = 25.0
_STOP_SECONDS = 5.0
"""Seconds that a stop waits for a request to the API server; its thread ends with the response."""
_EVENTS_SECONDS = 10.0
"""Seconds between looks at the events of the namespace while there is nothing to explain."""


class KubernetesCluster:
    """One cluster.

    Args:
        settings: its settings, with its registry.
        home: id of the state folder.
        folder: a folder for files about this cluster; created if needed.
        listeners: the ports of services.
        on_change: called when there is something new to observe.
        log_of: returns the log of a service.
        drain_timeout: time limit in seconds for requests in progress when this process stops its work.

    Raises:
        ClusterSettingsError: the settings conflict with fields that mlmgmt-nb sets.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        home: str,
        folder: Path,
        listeners: Listeners,
        on_change: Callable[[], None],
        log_of: Callable[[str], Log],
        drain_timeout: float,
    ) -> None:
        check_pod_fields(settings)
        self.settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._on_change = on_change
        self._log_of = log_of
        self._connection = Connection(settings)
        self._objects = ObjectsApi(self._connection, home)
        self._logs = PodLogs(self._connection, folder / "logs.json", log_of)
        self._stats = PodStats(self._connection, on_change)
        self._reach = PodReach(self._connection, settings)
        self._directions = Directions(self._reach, listeners, on_change, drain_timeout)
        self._applier = Applier(self._objects, self._build, self._directions.hold, self._note)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._urls: Mapping[str, str] = {}
        self._observation: Observation | None = None
        self._round_done = threading.Condition()
        self._problem: Cause | None = None
        self._checked_at = self._events_at = float("-inf")
        self._is_checked, self._is_seen = threading.Event(), threading.Event()
        self._is_observed = False
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()  # of this thread: one that waits for a response may outlast a stop
        self._is_retired = False

    # --- the compute ---------------------------------------------------------------------------------------------

    def fingerprint(self, declaration: Declaration) -> str:
        """Return the digest of all objects of a declaration."""
        return declared_fingerprint(self._build(declaration))

    def declare(self, declaration: Declaration) -> None:
        if self._applier.declare(declaration):
            self._wake.set()

    @property
    def scales_itself(self) -> bool:
        return self.settings.hpa

    def scale(self, service_id: str, replicas: int) -> None:
        if self._applier.scale(service_id, replicas):
            self._wake.set()

    @property
    def is_exposed(self) -> bool:
        """Whether scoring URLs lead to the cluster itself."""
        return self.settings.expose != "front-door"

    def url(self, service_id: str) -> str | None:
        """Return the scoring URL of a service at the cluster itself, if it has one. Waits for the first look."""
        self._start()
        self._is_seen.wait(_FIRST_CHECK_SECONDS)
        return self._urls.get(service_id)

    def load(self, service_id: str) -> Load | None:
        return self._stats.load(service_id)

    def counters(self, service_id: str) -> Counters:
        return self._stats.counters(service_id)

    def memory(self, service_id: str) -> int:
        del service_id  # only the metrics server of a cluster, if it has one, knows the memory of pods
        return 0

    def states(self, service_id: str) -> Mapping[ReplicaState, int]:
        seen = self._observation.services.get(service_id, NOTHING) if self._observation else NOTHING
        return {ReplicaState.READY: seen.ready, ReplicaState.STARTING: max(0, seen.replicas - seen.ready)}

    def has_pending_connection(self, service_id: str) -> bool:
        return self._directions.has_waiting(service_id)

    def remove(self, service_id: str) -> None:
        if self._applier.remove(service_id):
            self._wake.set()

    def observe(self) -> Observation | None:
        self._is_observed = True
        self._start()
        return None if self._is_retired else self._observation

    def replace_keys(self, service_id: str, digests: Sequence[str], timeout: float) -> bool:
        declaration = self._applier.wanted.get(service_id)
        if declaration is None:
            return False
        changed = msgspec.structs.replace(declaration, key_digests=list(digests))
        fingerprint = self.fingerprint(changed)
        self.declare(changed)
        with self._round_done:
            return self._round_done.wait_for(lambda: self._applier.has(service_id, fingerprint), timeout)

    def open(self, service_id: str, port: int | None) -> int:
        opened = self._directions.open(service_id, port)
        self._wake.set()
        return opened

    def is_open(self, service_id: str) -> bool:
        return service_id in self._directions

    def close(self, service_id: str) -> None:
        self._directions.close(service_id)

    def private_port(self, service_id: str) -> int:
        return self._directions.private_port(service_id)

    def divert(self, service_id: str, take: Take) -> None:
        self._directions.divert(service_id, take)

    def accept(self, service_id: str) -> None:
        self._directions.accept(service_id)

    def socket_of(self, service_id: str) -> socket.socket:
        return self._directions.socket_of(service_id)

    def stop(self) -> None:
        """Stop this process's work: pods and declared objects stay. Requests in progress are completed first."""
        self._stopping.set()
        self._wake.set()
        self._directions.stop()
        if (thread := self._thread) is not None:
            thread.join(_STOP_SECONDS)
        self._stats.stop(_STOP_SECONDS)
        self._is_observed, self._observation = False, None
        self._applier.clear()
        with self._lock:
            self._thread = None

    def retire(self) -> None:
        """Stop for good, and return immediately: another cluster may take over the ports of services at once.

        Others may still hold this cluster for a moment.
        """
        with self._lock:
            self._is_retired = True
        self._stopping.set()
        self._directions.retire()
        self._is_checked.set()
        self._is_seen.set()
        threading.Thread(target=self.stop, name="retired-cluster", daemon=True).start()

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
            if self._thread is None and not self._is_retired:
                stopping = self._stopping = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(stopping,), name="cluster", daemon=True)
                self._thread.start()

    def _run(self, stopping: threading.Event) -> None:
        while True:
            self._wake.clear()
            if stopping.is_set():
                return
            try:
                pause = self._round(stopping)
            except ClusterError as error:
                pause = _AWAY_SECONDS if stopping.is_set() else self._leave(error)
            except Exception:
                # The thread must survive a failure in one round; the next one looks at the same state again.
                log.exception("a round with a cluster failed")
                pause = _AWAY_SECONDS
            self._is_seen.set()
            with self._round_done:
                self._round_done.notify_all()
            self._wake.wait(pause)

    def _round(self, stopping: threading.Event) -> float:
        self._check()
        if not self._is_observed:
            if self.is_exposed:  # another process runs the services; this one also returns their URLs
                listed = self._objects.list()
                self._reach.check(listed)
                self._urls = self._find_urls(listed)
            return _CALM_SECONDS
        self._applier.run()
        listed = self._list()
        self._reach.check(listed)
        if stopping.is_set():
            return _CALM_SECONDS
        for service_id in self._applier.forget_removed(listed):
            self._stats.forget(service_id)
        wanted = self._applier.wanted.copy()
        scaled = {id_ for id_, declared in wanted.items() if declared.bounds and not self.scales_itself}
        self._stats.update(ready_pods(listed.pods), scaled)
        self._urls = self._find_urls(listed) if self.is_exposed else {}
        self._publish(Observation(services=self._observed(listed, scaled)))
        self._renew_keys(listed)
        self._logs.copy(listed)
        return _BUSY_SECONDS if self._is_busy() else _CALM_SECONDS

    def _list(self) -> Listed:
        are_due = time.monotonic() - self._events_at >= _EVENTS_SECONDS
        listed = self._objects.list(with_events=are_due)
        if are_due:
            self._events_at = time.monotonic()
        return listed

    def _check(self) -> None:
        """Check that the cluster can run services: more often while it cannot."""
        pause = _CHECK_SECONDS if self._problem is None else _RECHECK_SECONDS
        if time.monotonic() - self._checked_at >= pause:
            self._problem = find_problem(self._connection, self.settings, self.settings.registry)
            if self._problem is not None:
                self._connection.reset()
            self._checked_at = time.monotonic()
            self._is_checked.set()

    def _is_busy(self) -> bool:
        assert self._observation is not None
        return self._applier.is_busy or any(not seen.is_complete for seen in self._observation.services.values())

    def _note(self, service_id: str, text: str) -> None:
        self._log_of(service_id).line(f"[mlmgmt] {text}")

    def _build(self, declaration: Declaration) -> list[dict[str, Any]]:
        return build_objects(declaration, self.settings, self._home, needs_node_port=self._reach.uses_node_ports)

    def _publish(self, observation: Observation) -> None:
        if observation != self._observation:
            self._observation = observation
            self._on_change()

    def _leave(self, error: ClusterError) -> float:
        """Note that the cluster does not respond or refuses all requests, and since when."""
        self._connection.reset()
        before = self._observation
        since = before.away_since if before and before.away_since else dt.datetime.now(dt.UTC)
        services = before.services if before else {}
        cause = Cause(error.code, error.message)
        self._publish(Observation(services=services, away=cause, away_since=since))
        return _AWAY_SECONDS

    def _observed(self, listed: Listed, scaled: Collection[str]) -> dict[str, ObservedService]:
        """Return the services. One is complete only when requests from here get to its pods."""
        services = observe(listed, self._applier.applied, self._applier.refused)
        self._directions.update(listed, services, scaled)
        for service_id, seen in services.items():
            obstacle = self._directions.obstacle(service_id)
            if obstacle is None and self._lacks_url(service_id):
                obstacle = f"The cluster has no address for this service yet (expose = {self.settings.expose})."
            if seen.is_complete and seen.replicas and obstacle is not None:
                cause = Cause("Unreachable", obstacle)
                services[service_id] = msgspec.structs.replace(seen, is_complete=False, cause=cause)
        return services

    def _lacks_url(self, service_id: str) -> bool:
        declaration = self._applier.wanted.get(service_id)
        is_candidate = declaration is not None and declaration.is_candidate
        return self.is_exposed and not is_candidate and service_id not in self._urls

    def _find_urls(self, listed: Listed) -> dict[str, str]:
        """Return the scoring URLs at the cluster itself, by service."""
        urls: dict[str, str] = {}
        ready = {pod["metadata"]["labels"][SERVICE] for pod in ready_pods(listed.pods)}
        for service in listed.objects["Service"]:
            labels = service["metadata"]["labels"]
            if labels[COMPONENT] == CANDIDATE:
                continue
            node = None
            if self.settings.expose == "nodeport":
                node = self._reach.find_node(service, has_pods=labels[SERVICE] in ready)
            if url := url_of(labels[NAME], service, self.settings, node):
                urls[labels[SERVICE]] = url
        return urls

    def _renew_keys(self, listed: Listed) -> None:
        """Make kubelets renew the mounted keys of pods at once, instead of within a minute or two."""
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
