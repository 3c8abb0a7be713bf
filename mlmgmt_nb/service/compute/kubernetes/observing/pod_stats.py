"""The load and the counters of pods, read through the API server from the statistics port of each pod.

A thread asks each ready pod: every second while its service is autoscaled or its counters are being read, and otherwise
less often.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import STATS_PORT
from mlmgmt_nb.service.compute.measures import Counters, Load

__all__ = ["PodStats"]

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_IDLE_TICKS = 5
"""Ticks between two requests to a pod whose counters nobody reads."""
_LOOK_SECONDS = 15.0
"""Seconds after a read of its counters during which a service counts as being watched."""
_FRESH_SECONDS = 5.0
"""Age of a report after which the load of its pod is unknown."""
_AT_ONCE = 8
_SILENT_SECONDS = 60.0
"""Seconds between two messages about unexpected failures."""
_FAILED = "the load of the pods of a cluster cannot be read"


class _Busy(msgspec.Struct):
    busy: int
    waiting: int
    limit: int
    occupied: float


resolve(_Busy)


class _Report(NamedTuple):
    load: Load
    counters: Counters
    at: float


class _Pod(NamedTuple):
    uid: str
    name: str
    service_id: str


class PodStats:
    """The reports of all ready pods.

    Args:
        on_change: called when there are new reports.
    """

    def __init__(self, connection: Connection, on_change: Callable[[], None]) -> None:
        self._connection = connection
        self._on_change = on_change
        self._lock = threading.Lock()
        self._pods: dict[str, _Pod] = {}
        self._urgent: frozenset[str] = frozenset()
        self._reports: dict[str, _Report] = {}
        self._ended: dict[str, Counters] = {}
        self._looks: dict[str, float] = {}
        self._problem = ""
        self._stopping = threading.Event()  # of the thread
        self._thread: threading.Thread | None = None

    def update(self, ready: Sequence[dict[str, Any]], urgent: Collection[str]) -> None:
        """Query these pods from now on.

        Args:
            urgent: services whose load must be known.
        """
        found = [_Pod(p["metadata"]["uid"], p["metadata"]["name"], p["metadata"]["labels"][SERVICE]) for p in ready]
        with self._lock:
            for uid in set(self._pods) - {pod.uid for pod in found}:
                self._keep_counters(self._pods[uid], self._reports.pop(uid, None))
            self._pods, self._urgent = {pod.uid: pod for pod in found}, frozenset(urgent)
        if found and self._thread is None:
            stopping = self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(stopping,), name="pod-stats", daemon=True)
            self._thread.start()

    def load(self, service_id: str) -> Load | None:
        """Return the load of the ready pods of a service; None if none of them has reported lately."""
        with self._lock:
            mine = self._reports_of(service_id)
            has_pods = any(pod.service_id == service_id for pod in self._pods.values())
        known = [report.load for report in mine if time.monotonic() - report.at < _FRESH_SECONDS]
        if has_pods and not known:
            return None
        return Load(sum(one.busy for one in known), sum(one.slots for one in known), sum(one.occupied for one in known))

    def counters(self, service_id: str) -> Counters:
        """Return the counters of a service, and query its pods more often for a while."""
        with self._lock:
            self._looks[service_id] = time.monotonic()
            counted = [report.counters for report in self._reports_of(service_id)]
            return sum(counted, self._ended.get(service_id, Counters()))

    def forget(self, service_id: str) -> None:
        """Forget the counters of a removed service."""
        with self._lock:
            self._ended.pop(service_id, None)
            self._looks.pop(service_id, None)

    def stop(self, timeout: float) -> None:
        """End the thread, and forget everything.

        Args:
            timeout: seconds to wait for the thread, which ends after its requests.
        """
        self._stopping.set()
        if (thread := self._thread) is not None:
            thread.join(timeout)
            self._thread = None
        for known in (self._pods, self._reports, self._ended, self._looks):
            known.clear()

    def _reports_of(self, service_id: str) -> list[_Report]:
        pods = [pod for pod in self._pods.values() if pod.service_id == service_id]
        return [self._reports[pod.uid] for pod in pods if pod.uid in self._reports]

    def _keep_counters(self, pod: _Pod, last: _Report | None) -> None:
        """Keep the counters of a pod that has ended, or whose container has."""
        if last is not None:
            self._ended[pod.service_id] = self._ended.get(pod.service_id, Counters()) + last.counters

    def _run(self, stopping: threading.Event) -> None:
        tick, log_again_at = 0, float("-inf")
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pod-stats") as pool:
            while not stopping.wait(_TICK_SECONDS):
                tick += 1
                try:
                    asked = self._due(is_idle_turn=tick % _IDLE_TICKS == 0)
                    # A list, because an iterator of the pool that is not read to its end cancels the other requests.
                    if any(list(pool.map(self._ask, asked))):
                        self._on_change()
                except Exception:
                    # The thread must survive a failure in one tick: services are autoscaled by what it reads.
                    is_due = time.monotonic() >= log_again_at
                    log.log(logging.ERROR if is_due else logging.DEBUG, _FAILED, exc_info=True)
                    log_again_at = time.monotonic() + _SILENT_SECONDS if is_due else log_again_at

    def _due(self, *, is_idle_turn: bool) -> list[_Pod]:
        since = time.monotonic() - _LOOK_SECONDS
        with self._lock:
            watched = self._urgent | {service_id for service_id, at in self._looks.items() if at >= since}
            return [pod for pod in self._pods.values() if is_idle_turn or pod.service_id in watched]

    def _ask(self, pod: _Pod) -> bool:
        """Query a pod; return whether it answered."""
        try:
            path = self._connection.path("Pod", pod.name)
            answer = self._connection.text(f"{path}:{STATS_PORT}/proxy/", {})
            busy, counters = msgspec.json.decode(answer, type=_Busy), msgspec.json.decode(answer, type=Counters)
        except (ClusterError, msgspec.MsgspecError) as error:
            # It may just have ended. Missing permissions are reported by the check of the cluster.
            if self._problem != str(error):
                self._problem = str(error)
                log.debug("pod %s does not tell its load: %s", pod.name, error)
            return False
        report = _Report(Load(busy.busy + busy.waiting, busy.limit, busy.occupied), counters, time.monotonic())
        with self._lock:
            if pod.uid not in self._pods:
                return False
            before = self._reports.get(pod.uid)
            if before is not None and counters.requests < before.counters.requests:
                self._keep_counters(pod, before)
            self._reports[pod.uid] = report
        return True
