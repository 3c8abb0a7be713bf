"""Candidates of services: deployments that run beside the current one until they are promoted or discarded.

A candidate is stored as a service, with the keys of the service that it belongs to, so that everything about services
applies: it is reconciled, reserves its share of the compute, and survives crashes. Lists omit it.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, insert, update

from mlmgmt_nb.contract.changes import CANDIDATE_ID, MOST_WARM_MINUTES, Candidate
from mlmgmt_nb.contract.extensions import ChangeRecord, ServiceCreate, ServiceUpdate
from mlmgmt_nb.contract.traffic import Canary, CanaryRequest, Mirror, MirrorRequest, falling_step
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources import operations
from mlmgmt_nb.service.api.resources.services.queries import responses
from mlmgmt_nb.service.api.resources.services.requests import (
    add_deployment,
    check_deployable,
    check_idle,
    start_change,
    stopped_traffic,
    text_of,
)
from mlmgmt_nb.service.api.resources.services.rows import candidate_row, service_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.compute_ids import DOCKER, LOCAL
from mlmgmt_nb.service.gateway.gateway import CANDIDATE
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import Problem, bad_field, conflict
from mlmgmt_nb.service.reconciling.specs import Secrets, changed, replica_bounds, scaling
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.schema import Traffic
from mlmgmt_nb.service.store.transitions import delete_service

__all__ = [
    *("discard", "get", "mirrored", "promote", "propose", "start_canary", "start_mirror", "stop_canary", "stop_mirror"),
]

_STOP_SECONDS, _POLL_SECONDS = 8.0, 0.02
"""Seconds to wait for the last results of a mirror, and between two polls. The router waits less for answers."""


def propose(call: Call) -> Reply:
    """Start a candidate. It replaces an earlier candidate of the service."""
    request: ServiceUpdate = call.body
    with call.backend.store.writing() as db:
        row = service_of(db, call)
        _check_service(row)
        # The candidate would have the settings from before another operation, and a promotion would restore them.
        check_idle(row)
        spec, secrets = changed(row.spec, row.secrets or {}, request)
        check_deployable(db, row, spec)
        if (replaced := candidate_row(db, row)) is not None:
            delete_service(db, replaced.id)
        candidate_id = str(uuid.uuid4())
        call.backend.admission.check(db, spec, row.compute_id, candidate_id)
        change = ChangeRecord(
            change="propose", changed_by=call.principal.name, reason=request.reason, replaces=row.deployment_id
        )
        deployment_id = add_deployment(db, row.account, candidate_id, spec, secrets, change)
        _add(db, row, candidate_id, deployment_id, spec, call.backend.settings.candidate_hours)
        operation_id = operations.begin(db, row.account, "Service", candidate_id)
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def _check_service(row: Row[Any]) -> None:
    """Refuse services that cannot have a candidate.

    Raises:
        Problem: 409.
    """
    if row.deployment_status != "Active":
        raise conflict("NothingServes", "No deployment of this service serves; update the service instead.")


def _add(
    db: Connection, service: Row[Any], candidate_id: str, deployment_id: str, spec: ServiceCreate, hours: float
) -> None:
    moment = now()
    db.execute(
        insert(schema.services).values(
            id=candidate_id,
            account=service.account,
            name=f"{service.name}/{CANDIDATE}",
            compute_id=service.compute_id,
            compute_given=service.compute_given,
            state="NotStarted",
            deployment_id=deployment_id,
            target_id=deployment_id,
            deleting=False,
            scale=max(1, replica_bounds(spec)[0]) if scaling(spec) else None,
            primary_key=service.primary_key,
            secondary_key=service.secondary_key,
            created_at=moment,
            updated_at=moment,
            candidate_of=service.id,
            expires_at=moment + dt.timedelta(hours=hours),
        )
    )


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, _response(db, _candidate_of(db, service_of(db, call), call), call))


def _response(db: Connection, row: Row[Any], call: Call) -> Candidate:
    service = responses(db, [row], call)[0]
    record: ChangeRecord = row.deployment_change
    return Candidate(
        **{name: getattr(service, name) for name in service.__struct_fields__},
        service_id=row.candidate_of,
        proposed_by=record.changed_by,
        reason=record.reason,
        expires_at=row.expires_at,
        canary=row.traffic and row.traffic.canary,
        mirror=row.traffic and row.traffic.mirror,
    )


def start_canary(call: Call) -> Reply:
    """Send a share of the requests of a service to its candidate; replace the current canary."""
    request: CanaryRequest = call.body
    if (place := falling_step(request.steps)) is not None:
        raise bad_field(
            f"$.steps[{place}].share", "is less than in the step before it; give shares in ascending order."
        )
    given = {name: getattr(request, name) for name in request.__struct_fields__}
    return _start(call, "mirror", canary=Canary(**given, step_since=now()))


def start_mirror(call: Call) -> Reply:
    """Send copies of the requests of a service to its candidate. The pairs of an earlier mirror are removed."""
    request: MirrorRequest = call.body
    given = {name: getattr(request, name) for name in request.__struct_fields__}
    return _start(call, "canary", mirror=Mirror(**given, since=now()))


def _start(call: Call, other: str, **started: Any) -> Reply:
    """Start the canary or the mirror of a service.

    Args:
        other: `canary` or `mirror`, whichever must not be active.
        started: the canary or the mirror to start, by the same names.
    """
    with call.backend.store.writing() as db:
        service = service_of(db, call)
        row = _candidate_of(db, service, call)
        _check_ready(row)
        _check_replicas(service, row)
        _check_passes(call, service)
        check_idle(service)
        traffic: Traffic = row.traffic or Traffic()
        active = getattr(traffic, other)
        if active is not None and active.is_active:
            raise conflict("CandidateBusy", f"A {other} of this candidate is running; stop it first.")
        if "mirror" in started:
            call.backend.mirrors.remove(row.id)
        _set_traffic(db, row.id, msgspec.structs.replace(traffic, **started))
    call.backend.services_changed()
    return get(call)


def _check_replicas(service: Row[Any], candidate: Row[Any]) -> None:
    """Refuse to split or copy requests if one side is scaled to zero: it would refuse them.

    Raises:
        Problem: 409.
    """
    for side, row in (("service", service), ("candidate", candidate)):
        if replica_bounds(row.spec)[1] == 0:
            raise conflict(
                "NoReplicas",
                f"The {side} is scaled to zero replicas and cannot answer; set numReplicas to 1 or more.",
            )


def _check_passes(call: Call, service: Row[Any]) -> None:
    """Refuse to split or copy requests that do not pass through this process.

    Raises:
        Problem: 409.
    """
    if call.backend.computes.is_exposed(service.compute_id):
        raise conflict(
            "NotPassing",
            f"Requests for this service go to the cluster {service.compute_id!r} itself, so the candidate gets none. "
            "Compare both by a replay, or remove `expose` from the settings of the cluster.",
        )


def stop_canary(call: Call) -> Reply:
    """Stop sending requests of a service to its candidate."""
    _stop(call, "canary")
    return get(call)


def stop_mirror(call: Call) -> Reply:
    """Stop sending copies of requests to the candidate of a service. The recorded pairs stay.

    The response waits for the answers to copies that were sent before, so that a report has them.
    """
    _stop(call, "mirror")
    until = time.monotonic() + _STOP_SECONDS
    while _is_stopping(call) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return get(call)


def _is_stopping(call: Call) -> bool:
    """Return whether the mirror of a service waits for its last results."""
    with call.backend.store.reading() as db:
        traffic: Traffic | None = _candidate_of(db, service_of(db, call), call).traffic
    return traffic is not None and traffic.mirror is not None and traffic.mirror.state == "Stopping"


def _stop(call: Call, kind: Literal["canary", "mirror"]) -> None:
    """Stop the canary or the mirror of a candidate, if it is active."""
    with call.backend.store.writing() as db:
        row = _candidate_of(db, service_of(db, call), call)
        active = getattr(row.traffic, kind, None)
        if active is not None and active.is_active:
            _set_traffic(db, row.id, stopped_traffic(row.traffic, f"stopped by {call.principal.name}"))
    call.backend.services_changed()


def mirrored(call: Call) -> Reply:
    """Return pairs of answers of the mirror, after the first `skip` pairs (in the query)."""
    with call.backend.store.reading() as db:
        row = _candidate_of(db, service_of(db, call), call)
    return Reply(200, call.backend.mirrors.read(row.id, int(call.query.get("skip", "0"))))


def _set_traffic(db: Connection, candidate_id: str, traffic: Traffic) -> None:
    services = schema.services
    db.execute(update(services).where(services.c.id == candidate_id).values(traffic=traffic))


def discard(call: Call) -> Reply:
    """Remove the candidate of a service with its replicas."""
    with call.backend.store.writing() as db:
        try:
            row = _candidate_of(db, service_of(db, call), call)
        except Problem:
            return Reply(204)
        delete_service(db, row.id)
    call.backend.withdraw(row.candidate_of, row.id)
    return Reply(200)


def promote(call: Call) -> Reply:
    """Promote the candidate of a service: its deployment becomes the target, which takes over its replicas."""
    reason, evidence, minutes = text_of(call, "reason"), text_of(call, "evidence"), _minutes_to_keep(call)
    with call.backend.store.writing() as db:
        service = service_of(db, call)
        candidate = _candidate_of(db, service, call)
        _check_ready(candidate)
        if minutes is not None:
            _check_keeps(service, candidate)
        spec, secrets, adopts = candidate.spec, Secrets(candidate.secrets or {}), candidate.deployment_id
        # This frees the capacity that it reserved for its service.
        delete_service(db, candidate.id)
        change = ChangeRecord(
            change="promote",
            changed_by=call.principal.name,
            reason=reason or candidate.deployment_change.reason,
            replaces=service.deployment_id,
            evidence=evidence,
            kept_until=None if minutes is None else now() + dt.timedelta(minutes=minutes),
        )
        operation_id = start_change(
            call,
            db,
            service,
            spec,
            secrets,
            change,
            adopts=adopts,
            scale=candidate.scale,
            warning=_warning(service, candidate),
        )
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def _warning(service: Row[Any], candidate: Row[Any]) -> str | None:
    """Return a warning if the candidate does not have a change that its service got after it was proposed."""
    if candidate.deployment_change.replaces == service.deployment_id:
        return None
    return (
        "The service was changed after this candidate was proposed. Image and settings are those of the candidate now; "
        "a rollback restores the change."
    )


def _minutes_to_keep(call: Call) -> float | None:
    """Return the minutes for which a promotion keeps the replicas that it replaces; None to keep none.

    Raises:
        Problem: 400.
    """
    given = call.query.get("keepWarm")
    if given is None:
        return None
    try:
        minutes = float(given)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MOST_WARM_MINUTES:
        raise bad_field("keepWarm", f"is {given!r}; give minutes, at most {MOST_WARM_MINUTES}.")
    return minutes


def _check_keeps(service: Row[Any], candidate: Row[Any]) -> None:
    """Refuse to keep replicas that a rollback could not take over.

    Raises:
        Problem: 409.
    """
    if service.compute_id not in {LOCAL, DOCKER}:
        raise conflict("NotKept", f"Replicas on the cluster {service.compute_id!r} cannot be kept; leave keepWarm out.")
    if (service.secrets or {}) != (candidate.secrets or {}):
        raise conflict(
            "NotKept",
            "The change has other secrets, and a rollback keeps the current ones: replicas with the earlier secrets "
            "cannot be kept. Leave keepWarm out.",
        )


def _check_ready(candidate: Row[Any]) -> None:
    """Refuse to promote a candidate that is not running.

    Raises:
        Problem: 409.
    """
    error = candidate.error
    if candidate.state in {"NotStarted", "Running"}:
        raise conflict("CandidateNotReady", "The candidate is starting; wait until its operation ends.")
    if candidate.deployment_status != "Active" or error is not None:
        fix = "Read the log of the service, or propose the change again."
        why = f": {error.message}" if error is not None else f". {fix}"
        raise conflict("CandidateNotReady", f"The candidate does not run{why}")


def _candidate_of(db: Connection, service: Row[Any], call: Call) -> Row[Any]:
    """Return the candidate of a service: the one that the request names, if it names one.

    Raises:
        Problem: 404.
    """
    row, named = candidate_row(db, service), call.query.get(CANDIDATE_ID)
    if row is None:
        raise Problem(404, "NoCandidate", f"The service {service.name!r} has no candidate; propose a change first.")
    if named is not None and named != row.id:
        raise Problem(
            404,
            "CandidateReplaced",
            f"The candidate {named!r} of the service {service.name!r} was replaced by another one; get it again.",
        )
    return row
