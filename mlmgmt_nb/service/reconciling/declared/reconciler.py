"""The pure step `(desired, observed, now) -> actions` for declarative computes.

The docstring of the package has the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlmgmt_nb.service.compute.declared.protocol import NOTHING, Cause, Observation, ObservedService
from mlmgmt_nb.service.reconciling.declared.actions import (
    Action,
    Declare,
    Fail,
    Forget,
    Open,
    Release,
    Remove,
    Route,
    Scale,
    Succeed,
)
from mlmgmt_nb.service.reconciling.declared.desired import Desired

__all__ = ["step"]

_NEVER_READY = Cause("StartTimeout", "The replicas did not become ready in time.")


def step(desired: Sequence[Desired], observation: Observation, now: float) -> list[Action]:
    """Return the actions of this moment.

    Args:
        desired: every service on the compute; other services are removed from it.
        observation: the observed state of the compute.
        now: seconds, on the clock of `Desired.since`.
    """
    if observation.away is not None:
        return [action for service in desired for action in _wait(service, observation.away, now)]
    actions: list[Action] = []
    for service in desired:
        actions += _split(service)
        actions += _service(service, observation.services.get(service.service_id, NOTHING), now)
    known = {service.service_id for service in desired}
    return actions + [Remove(id_) for id_, seen in observation.services.items() if id_ not in known and seen.exists]


def _wait(service: Desired, cause: Cause, now: float) -> Iterator[Action]:
    """Accept requests in this process, which refuses them with the reason, until the compute responds again."""
    if service.fingerprint is not None and not service.is_open and not service.deleting:
        yield Open(service.service_id)
    if service.is_routed and not service.is_split:  # nobody judges the candidate any longer
        yield Release(service.service_id)
    yield from _give_up(service, cause, now)


def _split(service: Desired) -> Iterator[Action]:
    if service.is_routed and not service.is_split:
        yield Release(service.service_id)
    elif service.is_split and service.is_open and not service.is_routed:
        yield Route(service.service_id)


def _service(service: Desired, seen: ObservedService, now: float) -> Iterator[Action]:
    if service.deleting:
        yield Remove(service.service_id) if seen.exists else Forget(service.service_id)
    elif service.target is None and service.serving is None:
        if seen.exists:
            yield Remove(service.service_id)
    elif not service.is_open:
        yield Open(service.service_id)
    elif service.target is not None:
        yield from _roll_out(service, service.target, seen, now)
    elif service.serving is not None:
        yield from _keep(service, service.serving, seen)


def _keep(service: Desired, serving: str, seen: ObservedService) -> Iterator[Action]:
    """Declare the current deployment as it should be, with the desired number of replicas."""
    if seen.fingerprint != service.fingerprint:
        yield Declare(service.service_id, serving)
    elif service.replicas is not None and seen.replicas != service.replicas:
        yield Scale(service.service_id, service.replicas)


def _roll_out(service: Desired, target: str, seen: ObservedService, now: float) -> Iterator[Action]:
    """Declare the target until the compute has it and all of its replicas are ready, or end the rollout."""
    if seen.fingerprint != service.fingerprint:
        refused = seen.refused[1] if seen.refused and seen.refused[0] == service.fingerprint else None
        given_up = list(_give_up(service, refused, now))
        yield from given_up or [Declare(service.service_id, target)]
    elif seen.is_complete:
        yield Succeed(service.service_id)
    else:
        yield from _give_up(service, seen.cause, now)


def _give_up(service: Desired, cause: Cause | None, now: float) -> Iterator[Action]:
    """Fail a rollout for a permanent cause, or for any cause after the start timeout."""
    if service.target is None or service.deleting:
        return
    if cause is not None and cause.is_certain:
        yield Fail(service.service_id, cause.code, cause.message)
    elif now - service.since > service.start_timeout:
        last = cause or _NEVER_READY
        message = f"{_NEVER_READY.message} {last.message}" if cause else last.message
        yield Fail(service.service_id, last.code, message)
