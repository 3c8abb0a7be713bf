"""The events of the cluster about the objects of services, for their logs: each once, in order, with its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.causes import time_of
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed

__all__ = ["NewEvents"]

Object = dict[str, Any]

_MOST_KNOWN = 5000
_OF_PARTS = frozenset({"Pod", "ReplicaSet"})
"""Kinds that a Deployment makes; their names begin with its name."""


class NewEvents:
    """Selects the events that have not been reported yet.

    Args:
        since: time of the last event that an earlier process reported.

    Attributes:
        last: time of the last event.
    """

    def __init__(self, since: str) -> None:
        self.last = since
        self._since = since
        self._known: dict[str, None] = {}

    def take(self, listed: Listed) -> Iterator[tuple[str, str]]:
        """Yield the service and the line of each new event, in the order of their times.

        A repeated event is reported once. Failed probes while a driver loads, and failed calculations of a disruption
        budget while pods start and end, are normal and left out.
        """
        names = _services_by_name(listed)
        for event in sorted(listed.events, key=time_of):
            uid, time = event["metadata"]["uid"], time_of(event)
            about = event.get("involvedObject", {})
            service_id = _service_of(about, names)
            if service_id is None or uid in self._known or time <= self._since or _means_nothing(event):
                continue
            self._known[uid] = None
            self.last = max(self.last, time)
            yield service_id, f"{about['name']}: [kubernetes] {time} {event.get('reason')}: {event.get('message')}"
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]


def _means_nothing(event: Object) -> bool:
    return event.get("reason") == "Unhealthy" or event["involvedObject"].get("kind") == "PodDisruptionBudget"


def _services_by_name(listed: Listed) -> dict[str, str]:
    found: Sequence[Object] = [each for objects in listed.objects.values() for each in objects]
    return {each["metadata"]["name"]: each["metadata"]["labels"][SERVICE] for each in found}


def _service_of(about: Mapping[str, Any], names: Mapping[str, str]) -> str | None:
    """Return the service of an object, also of a pod that has ended; None if it is not ours."""
    name = str(about.get("name", ""))
    if name in names:
        return names[name]
    if about.get("kind") not in _OF_PARTS:
        return None
    while "-" in name:
        name = name.rpartition("-")[0]
        if name in names:
            return names[name]
    return None
