"""The logs of all pods of a service, in the log of the service: each line with the name of its pod.

Each round asks for what is new since the last line of each pod, also of a container that has ended since. The positions
are in a file, so that a restarted service repeats nothing. Warnings of the cluster about these pods come in between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed
from mlmgmt_nb.service.files.disk import write_atomically
from mlmgmt_nb.service.files.logs import Log

__all__ = ["PodLogs"]

Object = dict[str, Any]

_MOST_BYTES = 2**20
_MOST_EVENTS = 1000


class _Position(msgspec.Struct):
    """The time of the last line of a pod that was read, and the number of its container's restarts by then."""

    time: str = ""
    restarts: int = 0


resolve(_Position)
_POSITIONS = msgspec.json.Decoder(dict[str, _Position])


class PodLogs:
    """Copies logs of pods.

    Args:
        file: for the positions.
        log_of: returns the log of a service.
    """

    def __init__(self, connection: Connection, file: Path, log_of: Callable[[str], Log]) -> None:
        self._connection = connection
        self._file = file
        self._log_of = log_of
        self._positions = self._read_positions()
        self._saved = b""
        self._seen_events: dict[str, int] = {}

    def _read_positions(self) -> dict[str, _Position]:
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return _POSITIONS.decode(self._file.read_bytes())
        return {}

    def copy(self, listed: Listed) -> None:
        """Copy what is new.

        Raises:
            ClusterError: the cluster does not respond.
        """
        self._copy_events(listed)
        for pod in listed.pods:
            try:
                self._copy_pod(pod)
            except ClusterError as error:
                if error.is_away:
                    raise
                # The pod has ended, or its container does not run yet: the next round tries again.
        living = {pod["metadata"]["uid"] for pod in listed.pods}
        self._positions = {uid: position for uid, position in self._positions.items() if uid in living}
        self._save()

    def _save(self) -> None:
        current = msgspec.json.encode(self._positions)
        if current != self._saved:
            with contextlib.suppress(OSError):  # then lines are repeated after a restart
                write_atomically(self._file, current)
                self._saved = current

    def _copy_pod(self, pod: Object) -> None:
        status = next(iter(pod.get("status", {}).get("containerStatuses", [])), None)
        if status is None or not (status.get("restartCount") or status.get("containerID")):
            return
        position = self._positions.setdefault(pod["metadata"]["uid"], _Position())
        if status.get("restartCount", 0) > position.restarts:
            self._copy_lines(pod, position, previous=True)
            position.restarts = status["restartCount"]
        self._copy_lines(pod, position, previous=False)

    def _copy_lines(self, pod: Object, position: _Position, *, previous: bool) -> None:
        name = pod["metadata"]["name"]
        query: dict[str, Any] = {"timestamps": "true", "limitBytes": _MOST_BYTES, "previous": str(previous).lower()}
        if position.time:
            query["sinceTime"] = position.time
        path = self._connection.path("Pod", name)
        data = self._connection.text(f"{path}/log", query)
        lines = list(_newer(data.splitlines(), position.time.encode()))
        if lines:
            self._log_of(pod["metadata"]["labels"][SERVICE]).append(
                b"".join(b"%b: %b\n" % (name.encode(), text) for _, text in lines)
            )
            position.time = lines[-1][0].decode()

    def _copy_events(self, listed: Listed) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in listed.pods}
        for event in _warnings(listed.events, pods):
            uid, count = event["metadata"]["uid"], event.get("count") or 1
            if uid not in self._seen_events:
                pod = pods[event["involvedObject"]["uid"]]
                text = f"{pod['metadata']['name']}: [kubernetes] {event.get('reason')}: {event.get('message')}"
                self._log_of(pod["metadata"]["labels"][SERVICE]).line(text)
            self._seen_events[uid] = count
        while len(self._seen_events) > _MOST_EVENTS:
            del self._seen_events[next(iter(self._seen_events))]


def _newer(lines: Iterable[bytes], last: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the time and text of lines after a time. The cluster selects by whole seconds."""
    for line in lines:
        time, _, text = line.partition(b" ")
        if time > last and time[:1].isdigit():
            yield time, text


def _warnings(events: Sequence[Object], pods: dict[str, Object]) -> Iterator[Object]:
    for event in events:
        # A probe that fails while a driver loads says nothing.
        is_warning = event.get("type") == "Warning" and event.get("reason") != "Unhealthy"
        if is_warning and event.get("involvedObject", {}).get("uid") in pods:
            yield event
