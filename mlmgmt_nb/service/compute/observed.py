"""Replicas as a compute observes them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Replica", "ReplicaState"]


class ReplicaState(StrEnum):
    """starting -> ready -> draining (answers what it has accepted) -> ending (answers nothing more)."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    ENDING = "ending"


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that lives. `since` is when it came into its state; times are seconds of one monotonic clock.

    `silence`: for how many seconds nothing has been heard of it.
    """

    id: str
    service_id: str
    deployment_id: str
    state: ReplicaState
    since: float
    busy: int = 0
    silence: float = 0.0
