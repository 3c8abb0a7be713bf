"""The desired state of a service on a declarative compute."""

from __future__ import annotations

import msgspec

__all__ = ["Desired"]


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The desired state of one service.

    Attributes:
        serving: the current deployment, or None.
        target: the deployment that is being rolled out, or None.
        fingerprint: fingerprint of the declaration of the target, or else of the current deployment.
        replicas: desired number of replicas, if this service autoscales it; None if it is fixed or the compute scales.
        since: start time of the rollout, in seconds on the clock of the step.
        is_open: whether this process accepts requests for the service.
        is_split: whether a share of the requests, or copies, should go to its candidate.
        is_routed: whether the router splits the requests now.
    """

    service_id: str
    serving: str | None = None
    target: str | None = None
    fingerprint: str | None = None
    replicas: int | None = None
    since: float = 0.0
    start_timeout: float = 300.0
    is_open: bool = True
    is_split: bool = False
    is_routed: bool = False
    deleting: bool = False
