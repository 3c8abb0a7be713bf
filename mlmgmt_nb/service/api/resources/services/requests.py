"""Create, update, roll back and delete services: rows with the desired state, for the supervisor to realize."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from mlmgmt_nb.contract.extensions import ChangeRecord, ServiceCreate, ServiceUpdate
from mlmgmt_nb.contract.limits import too_long
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources import operations
from mlmgmt_nb.service.api.resources.lookup import image_not_ready
from mlmgmt_nb.service.api.resources.services.keys import new_key
from mlmgmt_nb.service.api.resources.services.rows import service_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import bad_field, conflict, not_found
from mlmgmt_nb.service.reconciling.specs import (
    Secrets,
    changed,
    check_supported,
    replica_bounds,
    restored,
    scaling,
    stored,
)
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.transitions import delete_service, forget_kept

__all__ = [
    *("add_deployment", "check_deployable", "check_idle", "create", "delete_", "rollback", "start_change", "text_of"),
    *("stopped_traffic", "update_"),
]


def create(call: Call) -> Reply:
    spec, secrets = stored(call.body)
    services = schema.services
    with call.backend.store.writing() as db:
        compute = call.backend.computes.choose(db, call.account, spec.compute_resource.id, "$.computeResource.id")
        _check_image(db, call.account, spec.image_id, compute.id)
        check_supported(spec)
        taken = select(services.c.id).where(
            services.c.account == call.account, services.c.name == spec.name, ~services.c.deleting
        )
        if db.scalar(taken) is not None:
            raise conflict(
                "ServiceNameTaken",
                f"A service named {spec.name!r} already exists; update or delete it, or choose another name.",
            )
        service_id = str(uuid.uuid4())
        call.backend.admission.check(db, spec, compute.id, service_id)
        change = ChangeRecord(change="create", changed_by=call.principal.name, reason=call.body.reason)
        deployment_id = add_deployment(db, call.account, service_id, spec, secrets, change)
        moment = now()
        db.execute(
            insert(services).values(
                id=service_id,
                account=call.account,
                name=spec.name,
                compute_id=compute.id,
                compute_given=compute.given,
                state="NotStarted",
                deployment_id=deployment_id,
                target_id=deployment_id,
                deleting=False,
                # Start with at least one replica, to find out whether the driver loads.
                scale=max(1, replica_bounds(spec)[0]) if scaling(spec) else None,
                primary_key=new_key(),
                secondary_key=new_key(),
                created_at=moment,
                updated_at=moment,
            )
        )
        operation_id = operations.begin(db, call.account, "Service", service_id, compute.warning)
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def update_(call: Call) -> Reply:
    request: ServiceUpdate = call.body
    with call.backend.store.writing() as db:
        row = service_of(db, call)
        spec, secrets = changed(row.spec, row.secrets or {}, request)
        record = ChangeRecord(
            change="update", changed_by=call.principal.name, reason=request.reason, replaces=row.deployment_id
        )
        operation_id = start_change(call, db, row, spec, secrets, record)
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def rollback(call: Call) -> Reply:
    """Return a service to the deployment that served before the current one, with its image and settings.

    Secrets keep their current values. `reason` in the query goes into the record of the change. 202 with an operation,
    as for an update; 409 if no other deployment has served, or another operation on the service is running.
    """
    reason = text_of(call, "reason")
    with call.backend.store.writing() as db:
        row = service_of(db, call)
        check_idle(row)  # first: a rollout that is under way decides which deployment served before
        before = _served_before(db, row)
        spec, secrets = restored(before.spec, row.secrets or {})
        record = ChangeRecord(
            change="rollback",
            changed_by=call.principal.name,
            reason=reason,
            replaces=row.deployment_id,
            restores=before.id,
        )
        current: ChangeRecord | None = row.deployment_change
        is_kept = current is not None and current.keeps(now()) and current.replaces == before.id
        operation_id = start_change(call, db, row, spec, secrets, record, adopts=before.id if is_kept else None)
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def text_of(call: Call, name: str) -> str | None:
    """Return a text parameter of the query of a request, or None.

    Raises:
        Problem: 400: it is too long.
    """
    given = call.query.get(name)
    if given is not None and (problem := too_long(name, given)):
        raise bad_field(name, problem, "TooLong")
    return given


def check_idle(service: Row[Any]) -> None:
    """Refuse a change of a service while another operation on it is running.

    Raises:
        Problem: 409.
    """
    if service.target_id is not None:
        raise conflict("OperationUnderWay", "Another operation on this service is running; wait until it ends.")


def _served_before(db: Connection, service: Row[Any]) -> Row[Any]:
    """Return the last deployment that served and was replaced."""
    deployments = schema.deployments
    served = select(deployments).where(deployments.c.service_id == service.id, deployments.c.status == "Expired")
    found = db.execute(served.order_by(deployments.c.seq.desc()).limit(1)).one_or_none()
    if found is None:
        raise conflict(
            "NothingToRollBackTo",
            "Only the current deployment of this service has served, so nothing can be restored; update it.",
        )
    return found


def start_change(
    call: Call,
    db: Connection,
    row: Row[Any],
    spec: ServiceCreate,
    secrets: Secrets,
    change: ChangeRecord,
    *,
    adopts: str | None = None,
    scale: int | None = None,
    warning: str | None = None,
) -> str:
    """Check the next deployment of a service and make it the target; return the id of the operation.

    Args:
        adopts: id of an identical deployment whose replicas the target may take over.
        scale: number of these replicas, as their autoscaler decided.
        warning: the warning of the operation.
    """
    services = schema.services
    check_deployable(db, row, spec)
    check_idle(row)
    call.backend.admission.check(db, spec, row.compute_id, row.id)
    forget_kept(db, row.id)
    _stop_traffic(db, row.id, f"the service was changed by {change.changed_by}")
    deployment_id = add_deployment(db, call.account, row.id, spec, secrets, change)
    fewest, most = replica_bounds(spec)
    db.execute(
        update(services)
        .where(services.c.id == row.id)
        .values(
            target_id=deployment_id,
            adopts_id=adopts,
            state="NotStarted",
            scale=max(1, fewest, min(max(row.scale or 0, scale or 0), most)) if scaling(spec) else None,
            updated_at=now(),
        )
    )
    return operations.begin(db, call.account, "Service", row.id, warning)


def _stop_traffic(db: Connection, service_id: str, reason: str) -> None:
    """End the canary or mirror of a service whose deployment is about to change: its comparison would be invalid."""
    services = schema.services
    candidate = select(services.c.id, services.c.traffic).where(services.c.candidate_of == service_id)
    for found in db.execute(candidate.where(~services.c.deleting)).all():
        if found.traffic is not None and found.traffic.is_active:
            stopped = stopped_traffic(found.traffic, reason)
            db.execute(update(services).where(services.c.id == found.id).values(traffic=stopped))


def stopped_traffic(traffic: schema.Traffic, reason: str) -> schema.Traffic:
    """Return the traffic of a candidate after its canary or mirror is stopped.

    The mirror gets its last results before it has ended.
    """
    canary, mirror = traffic.canary, traffic.mirror
    if canary is not None and canary.is_active:
        canary = msgspec.structs.replace(canary, state="Stopped", reason=reason)
    if mirror is not None and mirror.is_active:
        mirror = msgspec.structs.replace(mirror, state="Stopping", reason=reason)
    return schema.Traffic(canary=canary, mirror=mirror)


def check_deployable(db: Connection, row: Row[Any], spec: ServiceCreate) -> None:
    """Check the image and the settings of the next deployment of a service.

    Raises:
        Problem: 404 or 409.
    """
    _check_image(db, row.account, spec.image_id, row.compute_id, of_service=row.spec.image_id)
    check_supported(spec)


def _check_image(db: Connection, account: str, image_id: str, compute_id: str, of_service: str | None = None) -> None:
    images = schema.images
    image = db.execute(select(images).where(images.c.account == account, images.c.id == image_id)).one_or_none()
    if image is None:
        raise not_found("image", image_id, "$.imageId")
    if image.state != "Succeeded":
        raise image_not_ready(image.state, "$.imageId")
    if image.compute_id != compute_id:
        raise conflict(
            "ImageOfOtherCompute",
            f"$.imageId: this image was built for compute {image.compute_id!r} and cannot run on {compute_id!r}; "
            f"create an image with computeResourceId {compute_id!r}.",
        )
    if image.withdrawn_at is not None and image_id != of_service:
        raise conflict(
            "ImageWithdrawn",
            "$.imageId: this image was withdrawn, because the deployment that made it failed; create a new image.",
        )
    if image.collected_at is not None:
        raise conflict(
            "ImageCollected",
            "$.imageId: the files of this image were removed by mlmgmt gc, because no service used it; "
            "create a new image from its manifest.",
        )


def add_deployment(
    db: Connection, account: str, service_id: str, spec: ServiceCreate, secrets: Secrets, change: ChangeRecord
) -> str:
    """Add a deployment that is about to start; return its id."""
    deployment_id = str(uuid.uuid4())
    db.execute(
        insert(schema.deployments).values(
            id=deployment_id,
            account=account,
            service_id=service_id,
            service_name=spec.name,
            image_id=spec.image_id,
            spec=spec,
            secrets=secrets or None,
            status="Deploying",
            created_at=now(),
            change=change,
        )
    )
    return deployment_id


def delete_(call: Call) -> Reply:
    services = schema.services
    known = select(services.c.id).where(services.c.account == call.account, services.c.id == call.id)
    candidates = select(services.c.id).where(services.c.candidate_of == call.id)
    with call.backend.store.writing() as db:
        if db.scalar(known.where(services.c.candidate_of.is_(None))) is None or not delete_service(db, call.id):
            return Reply(204)
        for candidate_id in db.scalars(candidates).all():
            delete_service(db, candidate_id)
    call.backend.services_changed()
    return Reply(200)
