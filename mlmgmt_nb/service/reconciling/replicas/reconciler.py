"""The reconciler: one pure step from the actual to the desired state, for replicas that this service starts.

`step(desired, replicas, crashes, now)` returns the next actions; it has no state and no side effects. Rules:

- a rolling replacement starts a new replica and waits until it is ready before it retires an old one, with at most one
  replica more than desired;
- a rollout fails if its driver does not load or its replicas keep dying, and the previous deployment keeps serving;
- a replica that dies is replaced, with a growing delay if it keeps dying; an unresponsive replica is ended;
- a promotion reuses the replicas of the candidate: the target takes over those that are ready, instead of new ones;
- after a promotion, the replicas of the earlier deployment may be kept for a while: a rollback takes them over;
- while a candidate gets a share of the requests, a router accepts the connections instead of the replicas;
- requests to a service without replicas are refused, unless a replica is starting or a request wakes the service;
- a service that is being deleted is drained, then closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.reconciling.replicas.actions import (
    Action,
    Adopt,
    Close,
    Drain,
    Fail,
    Keep,
    Kill,
    Open,
    Refuse,
    Release,
    Route,
    Show,
    Start,
    Succeed,
)
from mlmgmt_nb.service.reconciling.replicas.desired import Crashes, Desired

__all__ = ["LINGER_SECONDS", "STARTING_AT_ONCE", "STEADY_SECONDS", "backoff", "is_settled", "step"]

CRASHES_OF_A_ROLLOUT = 3
"""Number of consecutive crashes of the target after which a rollout fails."""
LONGEST_BACKOFF = 60.0
STEADY_SECONDS = 60.0
"""Seconds without a crash after which earlier crashes do not count. Not shorter than the longest back-off."""
STARTING_AT_ONCE = 4
"""Maximum number of replicas that start at the same time, over all services: more would slow each other down."""
LINGER_SECONDS = 3.0
"""Seconds that a rollout waits for retired replicas, which clients may still reach on open connections."""


_LIVE = frozenset({ReplicaState.STARTING, ReplicaState.READY})
_ADOPTABLE = frozenset({ReplicaState.READY, ReplicaState.KEPT})
_RETIRED = frozenset({ReplicaState.DRAINING, ReplicaState.KEPT})


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
    """Return the next actions.

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
        adoptable = [replica for replica in replicas if _can_adopt(service, replica)]
        actions += _service(service, mine, adoptable, crashes, now)
    actions += [Kill(r.service_id, r.id) for r in replicas if r.service_id not in known]
    return list(_limit_starts(actions, sum(replica.state is ReplicaState.STARTING for replica in replicas)))


def _limit_starts(actions: Sequence[Action], starting: int) -> Iterator[Action]:
    """Yield the actions without surplus starts; later steps request these again."""
    for action in actions:
        if isinstance(action, Start):
            starting += 1
            if starting > STARTING_AT_ONCE:
                continue
        yield action


def _can_adopt(service: Desired, replica: Replica) -> bool:
    is_same = service.target is not None and replica.deployment_id == service.adopts
    return is_same and replica.state in _ADOPTABLE and replica.can_move


def _service(
    service: Desired,
    replicas: Sequence[Replica],
    adoptable: Sequence[Replica],
    crashes: Mapping[str, Crashes],
    now: float,
) -> Iterator[Action]:
    overdue = [replica for replica in replicas if _overdue(replica, service, now)]
    yield from (Kill(service.service_id, r.id, hung=r.state in _LIVE | _ADOPTABLE) for r in overdue)
    live = [r for r in replicas if r.state in _LIVE and r not in overdue]
    yield from (Drain(service.service_id, r.id) for r in replicas if _is_kept_too_long(service, r))
    yield from _split(service, live, adoptable)
    if service.is_promoted:
        return
    if service.deleting:
        yield from _close(service, replicas, live)
    elif service.target is None and service.serving is None:
        yield from _wait(service, live)
    elif not service.is_open:
        yield Open(service.service_id)
    elif service.target is not None:
        yield from _roll_out(service, service.target, replicas, live, adoptable, crashes, now)
    elif service.serving is not None:
        yield from _keep(service, service.serving, live, crashes, now)


def _is_kept_too_long(service: Desired, replica: Replica) -> bool:
    is_wanted = replica.deployment_id in {service.keeps, service.adopts} and not service.deleting
    return replica.state is ReplicaState.KEPT and not is_wanted


def _split(service: Desired, live: Sequence[Replica], adoptable: Sequence[Replica]) -> Iterator[Action]:
    """Move the socket of a service from its replicas to the router, or back.

    Connections are accepted at any time: the router starts before the replicas stop, and the replicas start before the
    router stops.
    """
    ready = [r for r in _ready(live) if r.can_move]
    if service.is_split:
        yield from _give_to_router(service, ready)
    elif service.is_routed:
        yield from _take_from_router(service, live, ready, adoptable)
    elif service.target is None:
        yield from (Show(service.service_id, r.id, at_service=True) for r in ready if not r.is_open)


def _give_to_router(service: Desired, ready: Sequence[Replica]) -> Iterator[Action]:
    if service.is_routed:
        yield from (Show(service.service_id, r.id, at_service=False) for r in ready if r.is_open)
    elif ready:
        yield Route(service.service_id)


def _take_from_router(
    service: Desired, live: Sequence[Replica], ready: Sequence[Replica], adoptable: Sequence[Replica]
) -> Iterator[Action]:
    is_accepting = any(r.is_open for r in ready)
    # During a promotion, the new replicas take over from the router directly.
    is_awaited = bool(adoptable) or any(r.deployment_id == service.target for r in live)
    if is_accepting or not live or service.deleting:
        yield Release(service.service_id)
    elif not is_awaited:
        yield from (Show(service.service_id, r.id, at_service=True) for r in ready)


def _close(service: Desired, replicas: Sequence[Replica], live: Sequence[Replica]) -> Iterator[Action]:
    """Drain a service that is being deleted, then close it."""
    yield from (Drain(service.service_id, r.id) for r in live)
    if not replicas:
        yield Close(service.service_id)


def _wait(service: Desired, live: Sequence[Replica]) -> Iterator[Action]:
    """Drain all replicas and refuse requests, because no deployment has succeeded and none is being rolled out."""
    yield from (Drain(service.service_id, r.id) for r in live)
    if service.is_open and not live:
        yield Refuse(service.service_id, "No deployment of this service has succeeded yet.")


def _overdue(replica: Replica, service: Desired, now: float) -> bool:
    age = now - replica.since
    if replica.state is ReplicaState.STARTING:
        return age > service.start_timeout
    if replica.state in _ADOPTABLE:
        return replica.silence > service.hang_timeout
    # One second longer than the replica's own timeout, which is more precise, so that the replica ends by itself.
    return age > service.drain_timeout + 1


def _keep(
    service: Desired, deployment_id: str, live: Sequence[Replica], crashes: Mapping[str, Crashes], now: float
) -> Iterator[Action]:
    """Keep the desired number of replicas of a deployment and retire all others."""
    service_id = service.service_id
    mine, others = _partition(deployment_id, live)
    yield from (Drain(service_id, r.id) for r in others)
    yield from (Drain(service_id, r.id) for r in _retirement_order(mine)[: max(0, len(mine) - service.replicas)])
    if _may_start(deployment_id, crashes, now):
        yield from [Start(service_id, deployment_id)] * (service.replicas - len(mine))
    elif not live:
        yield Refuse(
            service_id, f"The replicas of this service keep ending; the last: {crashes[deployment_id].message}"
        )
    if service.replicas == 0 and not service.sleeps:
        yield Refuse(service_id, "This service is scaled to zero replicas.")


def _partition(deployment_id: str, replicas: Sequence[Replica]) -> tuple[list[Replica], list[Replica]]:
    """Return the replicas of a deployment, and those of others."""
    mine = [r for r in replicas if r.deployment_id == deployment_id]
    return mine, [r for r in replicas if r.deployment_id != deployment_id]


def _roll_out(
    service: Desired,
    target: str,
    replicas: Sequence[Replica],
    live: Sequence[Replica],
    adoptable: Sequence[Replica],
    crashes: Mapping[str, Crashes],
    now: float,
) -> Iterator[Action]:
    """Replace the replicas of other deployments with those of the target, or fail the rollout."""
    died = crashes.get(target)
    if died is not None and _is_final(died):
        # The next step drains the replicas of the target, when it is no longer the target.
        yield Fail(service.service_id, died.code, died.message)
        return
    new, old = _partition(target, live)
    if len(_ready(new)) < service.target_replicas or old:
        yield from _replace(service, target, new, old, adoptable, crashes, now)
        return
    yield from (Drain(service.service_id, r.id) for r in _retirement_order(new)[: len(new) - service.target_replicas])
    if not any(_is_lingering(r, target, now) for r in replicas):
        # The target answers all new requests now.
        yield Succeed(service.service_id, _warning_of(new))


def _is_final(died: Crashes) -> bool:
    return died.permanent or died.count >= CRASHES_OF_A_ROLLOUT


def _warning_of(replicas: Sequence[Replica]) -> str | None:
    return next((r.warning for r in _ready(replicas) if r.warning), None)


def _is_lingering(replica: Replica, target: str, now: float) -> bool:
    is_retired = replica.state in _RETIRED and replica.deployment_id != target
    return is_retired and now - replica.since < LINGER_SECONDS


def _replace(
    service: Desired,
    target: str,
    new: Sequence[Replica],
    old: Sequence[Replica],
    adoptable: Sequence[Replica],
    crashes: Mapping[str, Crashes],
    now: float,
) -> Iterator[Action]:
    """Adopt or start the replicas of the target, and retire the others as the new ones become ready."""
    adopted = adoptable[: max(0, service.target_replicas - len(new))]
    yield from (Adopt(service.service_id, target, r.id) for r in adopted)
    ready = len(_ready(new))
    # Without replicas to replace, all may start together; otherwise there is at most one more than desired.
    most = max(service.replicas, service.target_replicas) + 1
    room = most - len(new) - len(old) if old else service.target_replicas
    missing = min(service.target_replicas - len(new), room) - len(adopted)
    if _may_start(target, crashes, now):
        yield from [Start(service.service_id, target)] * missing
    spare = len(old) - max(0, service.target_replicas - ready)
    yield from (_retire(service, r) for r in _retirement_order(old)[: max(0, spare)])
    if service.serving is not None and _may_start(service.serving, crashes, now):
        # An old replica died before its successor was ready: keep the current deployment running meanwhile.
        needed = min(service.replicas, service.target_replicas) - ready - len(old)
        yield from [Start(service.service_id, service.serving)] * needed


def _retire(service: Desired, replica: Replica) -> Action:
    is_kept = replica.deployment_id == service.keeps and replica.can_move and replica.state is ReplicaState.READY
    return Keep(service.service_id, replica.id) if is_kept else Drain(service.service_id, replica.id)


def _ready(replicas: Sequence[Replica]) -> list[Replica]:
    return [r for r in replicas if r.state is ReplicaState.READY]


def _retirement_order(replicas: Sequence[Replica]) -> list[Replica]:
    """Return replicas in the order of retirement: not ready yet, then least busy, then youngest."""
    return sorted(replicas, key=lambda r: (r.state is ReplicaState.READY, r.busy, -r.since))


def _may_start(deployment_id: str, crashes: Mapping[str, Crashes], now: float) -> bool:
    died = crashes.get(deployment_id)
    return died is None or now - died.last >= backoff(died.count)
