"""How many replicas an autoscaled service should have: a pure decision, made again each refresh period.

Utilization is busy slots over offered slots, on average over the period, smoothed. It goes up at once, and down one
replica at a time after the load has stayed low for a while; never past the minimum and maximum. A service that may go
down to none is woken by a request.
"""

from __future__ import annotations

import math

import msgspec

from mlmgmt_nb.service.compute.base import Load
from mlmgmt_nb.service.reconciling.specs import Scaling

__all__ = ["ScaleState", "decide"]

SMOOTHING = 0.5
"""Weight of the newest sample when the load falls; a rise counts in full."""


class ScaleState(msgspec.Struct, frozen=True, kw_only=True):
    """Between decisions.

    Attributes:
        busy: the smoothed number of busy slots.
        decided: when it was decided last.
        looked: when the load was looked at last.
        busy_seconds: seconds of busy slots since it was decided.
        calm_since: since when fewer replicas would do.
    """

    replicas: int
    busy: float = 0.0
    decided: float
    looked: float
    busy_seconds: float = 0.0
    calm_since: float | None = None


def decide(
    state: ScaleState,
    scaling: Scaling,
    load: Load,
    slots: int,
    now: float,
    *,
    calm_seconds: float,
    has_request: bool = False,
    starting: bool = False,
) -> ScaleState:
    """Return the state after the sample of this moment.

    Args:
        load: of the ready replicas together.
        slots: requests that one replica accepts at once.
        calm_seconds: how long a lower number must have been enough before one replica is taken away.
        has_request: a request waits, and there is no replica.
        starting: a replica is on its way, for which requests may wait that the load does not show.
        now: seconds on a monotonic clock.
    """
    if has_request and state.replicas == 0:
        return ScaleState(replicas=max(1, scaling.minimum), decided=now, looked=now)
    busy_seconds = state.busy_seconds + load.occupied * (now - state.looked)
    if now - state.decided < scaling.refresh_seconds:
        return msgspec.structs.replace(state, looked=now, busy_seconds=busy_seconds)
    mean = busy_seconds / (now - state.decided)
    busy = mean if mean >= state.busy else SMOOTHING * mean + (1 - SMOOTHING) * state.busy
    busy = 0.0 if busy < 1e-3 else busy
    # A target of 0 % means: never busy if it can be helped.
    needed = math.ceil(busy / (slots * scaling.target)) if scaling.target else (scaling.maximum if busy else 0)
    needed = min(max(needed, scaling.minimum), scaling.maximum)
    replicas, calm_since = min(max(state.replicas, scaling.minimum), scaling.maximum), state.calm_since
    if needed >= replicas:
        replicas, calm_since = needed, None
    elif calm_since is None or starting:
        calm_since = now
    elif now - calm_since >= calm_seconds:
        replicas, calm_since = replicas - 1, now
    return ScaleState(replicas=replicas, busy=busy, decided=now, looked=now, calm_since=calm_since)
