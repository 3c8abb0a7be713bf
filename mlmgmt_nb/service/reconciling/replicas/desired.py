"""The desired state of a service and the crashes of its replicas, as the reconciler needs them."""

from __future__ import annotations

import msgspec

__all__ = ["Crashes", "Desired"]


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The desired state of one service.

    Attributes:
        serving: the current deployment, or None.
        target: the deployment that is being rolled out, or None.
        replicas: desired number of replicas of the current deployment; `target_replicas` is that of the target.
        hang_timeout: seconds without any response after which a replica is replaced.
        is_open: whether it has its socket.
        sleeps: whether a request wakes it when it has no replicas.
        adopts: a deployment that is identical to the target, which takes over its replicas: the deployment of a
            promoted candidate, or an earlier one whose replicas were kept.
        keeps: a deployment whose replicas are kept when they are retired.
        is_split: whether its candidate should get a share of its requests, or copies.
        is_routed: whether the router splits its requests now.
        is_promoted: whether its replicas wait until another service takes them over.
    """

    service_id: str
    serving: str | None = None
    target: str | None = None
    replicas: int = 0
    target_replicas: int = 0
    start_timeout: float = 300.0
    drain_timeout: float = 30.0
    hang_timeout: float = 60.0
    is_open: bool = True
    sleeps: bool = False
    deleting: bool = False
    adopts: str | None = None
    keeps: str | None = None
    is_promoted: bool = False
    is_split: bool = False
    is_routed: bool = False


class Crashes(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive crashes of replicas of a deployment: their number, and the time and reason of the last crash.

    `permanent` means that a restart cannot help: the driver does not load.
    """

    count: int
    last: float
    code: str
    message: str
    permanent: bool = False
