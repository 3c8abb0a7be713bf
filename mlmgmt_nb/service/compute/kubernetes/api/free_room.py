"""Ask a cluster for the free capacity of its nodes. Not everybody may see nodes and the pods of all namespaces."""

from __future__ import annotations

import time

from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.observing.room import describe_room

__all__ = ["FreeRoom"]

_FRESH_SECONDS = 10.0
"""Age of the last answer after which the cluster is asked again: the lists can be long."""
_REFUSED_SECONDS = 300.0
"""Seconds after a refusal until the cluster is asked again, because the permission may have been given meanwhile."""


class FreeRoom:
    """The free capacity of the nodes, in words."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._said: str | None = None
        self._ask_again_at = float("-inf")

    def read(self) -> str | None:
        """Return the free capacity of each node, if we may see it.

        Raises:
            ClusterError: the cluster does not respond.
        """
        if time.monotonic() >= self._ask_again_at:
            try:
                self._said, pause = self._ask(), _FRESH_SECONDS
            except ClusterError as error:
                if error.is_away:
                    raise
                self._said, pause = None, _FRESH_SECONDS if error.is_failure else _REFUSED_SECONDS
            self._ask_again_at = time.monotonic() + pause
        return self._said

    def _ask(self) -> str:
        nodes = self._connection.request("GET", "/api/v1/nodes")["items"] or ()
        pods = self._connection.request("GET", "/api/v1/pods", field_selector="status.phase!=Succeeded")["items"] or ()
        return describe_room(nodes, pods)
