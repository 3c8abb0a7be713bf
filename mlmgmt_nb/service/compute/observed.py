"""Replicas as a compute observes them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Replica", "ReplicaState"]


class ReplicaState(StrEnum):
    """starting -> ready -> draining (completes accepted requests) -> ending (answers no requests).

    A ready replica may be kept, loaded and without connections, until it is ready again or drained.
    """

    STARTING = "starting"
    READY = "ready"
    KEPT = "kept"
    DRAINING = "draining"
    ENDING = "ending"


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """A live replica. `since` is when it entered its state; times are monotonic seconds.

    `silence`: seconds since its last message. `warning`: a warning about package versions, from loading its model.
    `is_open`: whether it accepts connections at the socket of its service, or of its candidate. `can_move`: whether it
    can be told to accept them elsewhere.
    """

    id: str
    service_id: str
    deployment_id: str
    state: ReplicaState
    since: float
    busy: int = 0
    silence: float = 0.0
    warning: str | None = None
    is_open: bool = True
    can_move: bool = False
