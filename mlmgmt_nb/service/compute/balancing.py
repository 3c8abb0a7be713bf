"""Spread kept connections over the replicas of a service, which share its listening socket.

The kernel gives a connection to any replica that accepts it, and callers keep connections: one replica may have all of
them while another is idle. The busiest replica is then told to close some after their next response; their callers
connect again, perhaps to the same replica, so this repeats until the loads are similar.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from mlmgmt_nb.service.compute.observed import ReplicaState
from mlmgmt_nb.service.compute.supervised import SupervisedReplica

__all__ = ["connections_to_move", "unbalanced"]

_LEAST_DIFFERENCE = 1.5
"""Difference in calls below which moving a connection would only exchange the replicas."""
_SETTLE_SECONDS = 2.5
"""Seconds until reports of the replicas show the effect of a move: each covers one second."""


def connections_to_move(most: float, least: float) -> int:
    """Return how many connections the busiest replica gives up.

    Args:
        most: its mean number of calls during the last second.
        least: that of the least busy replica.
    """
    difference = most - least
    return int(difference / 2 + 0.25) if difference >= _LEAST_DIFFERENCE else 0


def unbalanced(replicas: Iterable[SupervisedReplica]) -> tuple[SupervisedReplica, int] | None:
    """Return the replica of a service that gives up connections, and how many, or None.

    Its other replicas then give up none for a while.
    """
    ready = [replica for replica in replicas if replica.state is ReplicaState.READY]
    now = time.monotonic()
    if len(ready) < 2 or any(now - replica.balanced < _SETTLE_SECONDS for replica in ready):
        return None
    busiest = max(ready, key=lambda replica: replica.occupied)
    count = connections_to_move(busiest.occupied, min(replica.occupied for replica in ready))
    if not count or not busiest.moves_connections:
        return None
    for replica in ready:
        replica.balanced = now
    return busiest, count
