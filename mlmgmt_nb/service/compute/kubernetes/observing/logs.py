"""The logs of all pods of a service, in the log of the service: each line with the name of its pod.

Each round copies the lines since the last one of each pod, also those of a container that has ended since, and writes
how it ended. The positions are in a file, so that a restarted service does not repeat lines. Events of the cluster
about the objects of the service are in the same log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import CONTAINER, SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.events import NewEvents
from mlmgmt_nb.service.compute.kubernetes.observing.log_lines import read_lines
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed
from mlmgmt_nb.service.files.disk import write_atomically
from mlmgmt_nb.service.files.logs import Log

__all__ = ["PodLogs"]

Object = dict[str, Any]

_SILENT_SECONDS = 10.0
"""Seconds until a node that did not return a log is asked again: it may be lost, and the others go on."""
_EVENTS = "events"
"""Key of the position in the events of the cluster, among those of pods."""


class _Position(msgspec.Struct):
    """The position up to which the log of a pod was read.

    Attributes:
        time: time of the last line.
        restarts: number of restarts of the container whose log was read.
        sure: time of the last line that certainly belongs to this container: lines that were read after the cluster
            reported it may belong to its successor.
        ended: id of the last container whose end was written to the log.
    """

    time: str = ""
    restarts: int = 0
    sure: str = ""
    ended: str = ""


resolve(_Position)
_POSITIONS = msgspec.json.Decoder(dict[str, _Position])


class PodLogs:
    """Copies logs of pods.

    Args:
        file: the file for the positions.
        log_of: returns the log of a service.
    """

    def __init__(self, connection: Connection, file: Path, log_of: Callable[[str], Log]) -> None:
        self._connection = connection
        self._file = file
        self._log_of = log_of
        self._positions = self._read_positions()
        self._unsure: dict[str, frozenset[bytes]] = {}
        self._ask_again_at: dict[str, float] = {}
        self._saved = b""
        self._events = NewEvents(self._positions.get(_EVENTS, _Position()).time)

    def _read_positions(self) -> dict[str, _Position]:
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return _POSITIONS.decode(self._file.read_bytes())
        return {}

    def copy(self, listed: Listed) -> None:
        """Copy new lines and events."""
        for service_id, line in self._events.take(listed):
            self._log_of(service_id).line(line)
        for pod in listed.pods:
            node = pod["spec"].get("nodeName", "")
            if monotonic() < self._ask_again_at.get(node, 0.0):
                continue
            try:
                self._copy_pod(pod)
            except ClusterError as error:
                # The cluster has just listed the pod. If nothing responds now, it is the node that does not; otherwise
                # the pod has ended, or its container does not run yet, and the next round tries again.
                if error.is_failure:
                    self._ask_again_at[node] = monotonic() + _SILENT_SECONDS
        self._forget_removed(listed.pods)
        self._save()

    def _forget_removed(self, pods: Iterable[Object]) -> None:
        living = {pod["metadata"]["uid"] for pod in pods}
        self._positions = {uid: position for uid, position in self._positions.items() if uid in living}
        self._unsure = {uid: times for uid, times in self._unsure.items() if uid in living}

    def _save(self) -> None:
        current = msgspec.json.encode({**self._positions, _EVENTS: _Position(self._events.last)})
        if current != self._saved:
            with contextlib.suppress(OSError):  # then a restart repeats lines
                write_atomically(self._file, current)
                self._saved = current

    def _copy_pod(self, pod: Object) -> None:
        containers = pod.get("status", {}).get("containerStatuses", [])
        status = next((each for each in containers if each["name"] == CONTAINER), None)
        if status is None or not (status.get("restartCount") or status.get("containerID")):
            return
        uid = pod["metadata"]["uid"]
        position = self._positions.setdefault(uid, _Position())
        if (restarts := status.get("restartCount", 0) - position.restarts) > 0:
            self._tell_lost(pod, restarts)
            self._copy_last_words(pod, position, status)
            position.restarts = status["restartCount"]
        position.sure = position.time
        self._unsure[uid] = self._copy_lines(pod, position)
        self._tell_end(pod, position, (status.get("state") or {}).get("terminated"))

    def _tell_lost(self, pod: Object, restarts: int) -> None:
        """Write that lines are missing, if a container was replaced more than once since its log was last read."""
        if restarts > 1:
            lost = "1 earlier container" if restarts == 2 else f"{restarts - 1} earlier containers"
            text = (
                f"[kubernetes] the log of {lost} is gone: the container restarted {restarts} times between two reads, "
                "and Kubernetes keeps only the log of the last one that ended"
            )
            self._write(pod, [text.encode()])

    def _copy_last_words(self, pod: Object, position: _Position, status: Object) -> None:
        """Copy the rest of the log of a replaced container, or its message if the cluster has no log of it."""
        ended = (status.get("lastState") or {}).get("terminated")
        try:
            read = self._read(pod, position.sure, previous=True)
        except ClusterError as error:
            if error.is_failure:
                raise
            read = [(b"", text) for text in str((ended or {}).get("message") or "").encode().splitlines()]
        told = self._unsure.get(pod["metadata"]["uid"], frozenset())
        self._write(pod, (text for time, text in read if time not in told))
        position.time = max([position.time, *(time.decode() for time, _ in read)])
        self._tell_end(pod, position, ended)

    def _copy_lines(self, pod: Object, position: _Position) -> frozenset[bytes]:
        """Copy the new lines of a container; return their times."""
        lines = self._read(pod, position.time, previous=False)
        self._write(pod, (text for _, text in lines))
        if lines:
            position.time = lines[-1][0].decode()
        return frozenset(time for time, _ in lines)

    def _read(self, pod: Object, since: str, *, previous: bool) -> list[tuple[bytes, bytes]]:
        return read_lines(self._connection, pod["metadata"]["name"], since, previous=previous)

    def _write(self, pod: Object, lines: Iterable[bytes]) -> None:
        name = pod["metadata"]["name"].encode()
        if text := b"".join(b"%b: %b\n" % (name, line) for line in lines):
            self._log_of(pod["metadata"]["labels"][SERVICE]).append(text)

    def _tell_end(self, pod: Object, position: _Position, ended: Object | None) -> None:
        """Write how a container ended, once."""
        if ended and position.ended != (container := ended.get("containerID") or ended.get("finishedAt") or "unknown"):
            position.ended = container
            text = f"[kubernetes] {ended.get('finishedAt')} exit code {ended.get('exitCode')}: {ended.get('reason')}"
            self._write(pod, [text.encode()])
