"""The number of replicas of an autoscaled service: a pure decision, repeated every refresh period.

Utilization is busy slots over offered slots, averaged over the period and smoothed. The number rises immediately, and
falls by one replica at a time after the load has stayed low for a while; always within the minimum and maximum. A
request wakes a service that has scaled to zero.
"""

from __future__ import annotations

import math

import msgspec

from mlmgmt_nb.service.compute.measures import Load
from mlmgmt_nb.service.reconciling.specs import Scaling

__all__ = ["ScaleState", "decide"]

SMOOTHING = 0.5
"""Weight of the newest sample when the load falls; increases count fully."""


class ScaleState(msgspec.Struct, frozen=True, kw_only=True):
    """State between decisions.

    Attributes:
        busy: the smoothed number of busy slots.
        decided: time of the last decision.
        looked: time of the last sample.
        busy_seconds: seconds of busy slots since the decision.
        calm_since: time since which fewer replicas are enough.
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
    """Return the state after the current sample.

    Args:
        load: total load of the ready replicas.
        slots: maximum concurrent requests of one replica.
        calm_seconds: seconds of low load before one replica is removed.
        has_request: whether a request waits for a service without replicas.
        starting: whether a replica is starting; the load does not include requests that wait for it.
        now: monotonic time in seconds.
    """
    if has_request and state.replicas == 0:
        return ScaleState(replicas=max(1, scaling.minimum), decided=now, looked=now)
    busy_seconds = state.busy_seconds + load.occupied * (now - state.looked)
    if now - state.decided < scaling.refresh_seconds:
        return msgspec.structs.replace(state, looked=now, busy_seconds=busy_seconds)
    busy = _smoothed(state.busy, busy_seconds / (now - state.decided))
    needed = _bounded(_needed(busy, slots, scaling), scaling)
    replicas, calm_since = _bounded(state.replicas, scaling), state.calm_since
    if needed >= replicas:
        replicas, calm_since = needed, None
    elif calm_since is None or starting:
        calm_since = now
    elif now - calm_since >= calm_seconds:
        replicas, calm_since = replicas - 1, now
    return ScaleState(replicas=replicas, busy=busy, decided=now, looked=now, calm_since=calm_since)


def _smoothed(before: float, mean: float) -> float:
    busy = mean if mean >= before else SMOOTHING * mean + (1 - SMOOTHING) * before
    return 0.0 if busy < 1e-3 else busy


def _needed(busy: float, slots: int, scaling: Scaling) -> int:
    if scaling.target:
        return math.ceil(busy / (slots * scaling.target))
    # A target of 0 % requests the maximum while there is load.
    return scaling.maximum if busy else 0


def _bounded(replicas: int, scaling: Scaling) -> int:
    return min(max(replicas, scaling.minimum), scaling.maximum)
