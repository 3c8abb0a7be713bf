"""The reconciler: one pure step from the actual towards the desired state, for all kinds of compute.

`step(desired, replicas, crashes, now)` returns the actions of this moment; it keeps and changes nothing. Rules:

- a rolling replacement starts a new replica and waits until it is ready before it retires an old one, with at most one
  replica more than desired;
- a rollout whose driver does not load is given up, and the previous deployment keeps serving;
- a replica that dies is replaced, with a growing delay if it keeps dying; an unresponsive replica is ended;
- requests to a service without replicas are refused, unless a replica is about to be ready;
- a service that is being deleted is drained, then closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from mlmgmt_nb.service.compute.observed import Replica, ReplicaState

__all__ = [
    "Action",
    "Close",
    "Crashes",
    "Desired",
    "Drain",
    "Fail",
    "Kill",
    "Open",
    "Refuse",
    "Start",
    "Succeed",
    "backoff",
    "is_settled",
    "step",
]

CRASHES_OF_A_ROLLOUT = 3
"""Number of replicas that may die during a rollout before it is given up."""
LONGEST_BACKOFF = 60.0
STEADY_SECONDS = 60.0
"""Seconds without a crash after which earlier crashes are forgotten. Not shorter than the longest back-off."""
STARTING_AT_ONCE = 4
"""Maximum number of replicas that start at the same time, over all services: more of them only slow each other down."""
LINGER_SECONDS = 3.0
"""Seconds that a rollout waits for retired replicas, which clients may still reach on open connections."""


_LIVE = frozenset({ReplicaState.STARTING, ReplicaState.READY})


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The desired state of one service.

    Attributes:
        serving: the current deployment, or None.
        target: the deployment that is being rolled out, or None.
        replicas: desired number of replicas of the current deployment; `target_replicas` of the target.
        hang_timeout: seconds without any response after which a replica is replaced.
        is_open: whether it has its socket.
        sleeps: whether a request wakes it when it has no replicas.
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


class Crashes(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive crashes of replicas of a deployment: their number, the time of the last, and its reason.

    `permanent` means that a restart cannot help: the driver does not load.
    """

    count: int
    last: float
    code: str
    message: str
    permanent: bool = False


class Action(msgspec.Struct, frozen=True, tag=True):
    service_id: str


class Open(Action, frozen=True):
    """Open the socket of the service."""


class Start(Action, frozen=True):
    """Start a replica of a deployment."""

    deployment_id: str


class Drain(Action, frozen=True):
    """Retire a replica: it finishes its requests, then ends."""

    replica_id: str


class Kill(Action, frozen=True):
    """End a replica immediately. `hung` if it was unresponsive."""

    replica_id: str
    hung: bool = False


class Succeed(Action, frozen=True):
    """The rollout is complete: the target serves."""


class Fail(Action, frozen=True):
    """The rollout failed."""

    code: str
    message: str


class Refuse(Action, frozen=True):
    """Refuse the requests that wait at the socket, because the service has no replicas and none will be ready soon."""

    message: str


class Close(Action, frozen=True):
    """Nothing of the service is left: close its socket and forget it."""


def backoff(count: int) -> float:
    """Return the seconds to wait before a replica is started after `count` consecutive crashes: 0, 1, 2, 4, ... 60."""
    return 0.0 if count <= 1 else min(2.0 ** min(count - 2, 6), LONGEST_BACKOFF)


def is_settled(service: Desired, crashes: Mapping[str, Crashes], now: float) -> bool:
    """Return whether a service without replicas needs only refusals until its desired state changes.

    Time alone changes nothing: no replica is due, no back-off is running, and no socket has to be opened.
    """
    if service.deleting or service.target is not None:
        return False
    if service.serving is None:
        return True
    died = crashes.get(service.serving)
    is_calm = died is None or now - died.last >= STEADY_SECONDS
    return service.is_open and service.replicas == 0 and is_calm


def step(
    desired: Sequence[Desired], replicas: Sequence[Replica], crashes: Mapping[str, Crashes], now: float
) -> list[Action]:
    """Return the actions of this moment.

    Args:
        desired: every service. Replicas of other services are killed.
        replicas: every live replica.
        crashes: by deployment id.
        now: seconds, on the clock of `Replica.since` and `Crashes.last`.
    """
    actions: list[Action] = []
    known = set()
    for service in desired:
        known.add(service.service_id)
        mine = [replica for replica in replicas if replica.service_id == service.service_id]
        actions += _service(service, mine, crashes, now)
    actions += [Kill(r.service_id, r.id) for r in replicas if r.service_id not in known]
    return list(_paced(actions, sum(replica.state is ReplicaState.STARTING for replica in replicas)))


def _paced(actions: Sequence[Action], starting: int) -> Iterator[Action]:
    """Yield the actions except surplus starts; later steps request those again."""
    for action in actions:
        if isinstance(action, Start):
            starting += 1
            if starting > STARTING_AT_ONCE:
                continue
        yield action


def _service(
    service: Desired, replicas: Sequence[Replica], crashes: Mapping[str, Crashes], now: float
) -> Iterator[Action]:
    overdue = [replica for replica in replicas if _overdue(replica, service, now)]
    yield from (Kill(service.service_id, r.id, hung=r.state in _LIVE) for r in overdue)
    live = [r for r in replicas if r.state in _LIVE and r not in overdue]
    wanted = service.target or service.serving

    if service.deleting or wanted is None:
        yield from (Drain(service.service_id, r.id) for r in live)
        if service.deleting and not replicas:
            yield Close(service.service_id)
        elif not service.deleting and service.is_open and not live:
            yield Refuse(service.service_id, "No deployment of this service has succeeded yet.")
        return
    if not service.is_open:
        yield Open(service.service_id)
        return
    if service.target is None:
        yield from _keep(service.service_id, wanted, service.replicas, live, crashes, now)
        if service.replicas == 0 and not service.sleeps:
            yield Refuse(service.service_id, "This service is scaled to zero replicas.")
        return

    died = crashes.get(service.target)
    if died is not None and (died.permanent or died.count >= CRASHES_OF_A_ROLLOUT):
        # The next step drains the replicas of the target, when it is no longer the target.
        yield Fail(service.service_id, died.code, died.message)
        return
    lingering = any(
        r.state is ReplicaState.DRAINING and r.deployment_id != service.target and now - r.since < LINGER_SECONDS
        for r in replicas
    )
    yield from _roll(service, service.target, live, crashes, now, lingering=lingering)


def _overdue(replica: Replica, service: Desired, now: float) -> bool:
    age = now - replica.since
    if replica.state is ReplicaState.STARTING:
        return age > service.start_timeout
    if replica.state is ReplicaState.READY:
        return replica.silence > service.hang_timeout
    # One second more than its own deadline, so that its own, more exact clock comes first.
    return age > service.drain_timeout + 1


def _keep(
    service_id: str, deployment_id: str, count: int, live: Sequence[Replica], crashes: Mapping[str, Crashes], now: float
) -> Iterator[Action]:
    """Keep `count` replicas of a deployment and retire all others."""
    mine = [r for r in live if r.deployment_id == deployment_id]
    yield from (Drain(service_id, r.id) for r in live if r.deployment_id != deployment_id)
    yield from (Drain(service_id, r.id) for r in _expendable(mine)[: max(0, len(mine) - count)])
    if _may_start(deployment_id, crashes, now):
        yield from [Start(service_id, deployment_id)] * (count - len(mine))
    elif not live:
        yield Refuse(
            service_id, f"The replicas of this service keep ending; the last: {crashes[deployment_id].message}"
        )


def _roll(
    service: Desired,
    target: str,
    live: Sequence[Replica],
    crashes: Mapping[str, Crashes],
    now: float,
    *,
    lingering: bool,
) -> Iterator[Action]:
    """Start the replicas of the target one by one, and retire the others as these become ready."""
    new = [r for r in live if r.deployment_id == target]
    old = [r for r in live if r.deployment_id != target]
    ready = [r for r in new if r.state is ReplicaState.READY]
    if len(ready) >= service.target_replicas and not old:
        yield from (Drain(service.service_id, r.id) for r in _expendable(new)[: len(new) - service.target_replicas])
        if not lingering:
            # From now on the target answers new requests.
            yield Succeed(service.service_id)
        return
    # With nothing to replace, all may start together; otherwise at most one more than desired.
    room = max(service.replicas, service.target_replicas) + 1 - len(live) if old else service.target_replicas
    missing = min(service.target_replicas - len(new), room)
    if _may_start(target, crashes, now):
        yield from [Start(service.service_id, target)] * missing
    spare = len(old) - max(0, service.target_replicas - len(ready))
    yield from (Drain(service.service_id, r.id) for r in _expendable(old)[: max(0, spare)])
    if service.serving is not None and _may_start(service.serving, crashes, now):
        # An old replica died before its successor was ready: keep the current deployment running meanwhile.
        needed = min(service.replicas, service.target_replicas) - len(ready) - len(old)
        yield from [Start(service.service_id, service.serving)] * needed


def _expendable(replicas: Sequence[Replica]) -> list[Replica]:
    """Return replicas in the order of retirement: not ready yet, then least busy, then youngest."""
    return sorted(replicas, key=lambda r: (r.state is ReplicaState.READY, r.busy, -r.since))


def _may_start(deployment_id: str, crashes: Mapping[str, Crashes], now: float) -> bool:
    died = crashes.get(deployment_id)
    return died is None or now - died.last >= backoff(died.count)
