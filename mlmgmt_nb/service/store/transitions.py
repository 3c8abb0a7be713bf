"""The end of the work on a resource. The first end counts; later ones change nothing.

Builds and rollouts end here, when they finish or are cancelled.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, cast, delete, func, select, update

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.withdrawals import withdraw_made_versions

__all__ = [
    "delete_service",
    "forget_kept",
    "forget_secrets",
    "image_ended",
    "rollout_failed",
    "rollout_succeeded",
    "service_removed",
    "traffic_changed",
]


def image_ended(
    db: Connection,
    image_id: str,
    state: str,
    error: ErrorResponse | None = None,
    *,
    claimed_by: str | None = None,
    **made: str | None,
) -> bool:
    """End the build of an image; return whether it was still running.

    Args:
        db: transaction to use.
        state: `Succeeded`, `Failed` or `Cancelled`.
        error: the reason if it did not succeed.
        claimed_by: the process that built it, if that process ends it: another process may have claimed it by now.
        **made: results of the build, as columns of the image.
    """
    images = schema.images
    if not _end_operation(db, image_id, state, error, claimed_by):
        return False
    db.execute(update(images).where(images.c.id == image_id).values(state=state, error=error, **made))
    if state != "Succeeded":
        _withdraw_made_versions(db, image_id)
    return True


def rollout_succeeded(
    db: Connection, service_id: str, target_id: str, serving_id: str, warning: str | None = None
) -> bool:
    """Make the target deployment active; the operation gets the warning, after any that it has. Return False if the
    target changed in the meantime.
    """
    deployments = schema.deployments
    if not _is_target(db, service_id, target_id):
        return False
    if serving_id != target_id:
        db.execute(
            update(deployments)
            .where(deployments.c.id == serving_id, deployments.c.expired_at.is_(None))
            .values(status="Expired", expired_at=now())
        )
    db.execute(update(deployments).where(deployments.c.id == target_id).values(status="Active"))
    _list_again(db, target_id)
    if warning is not None:
        _add_warning(db, service_id, warning)
    _end_rollout(db, service_id, "Succeeded", None, deployment_id=target_id)
    return True


def rollout_failed(db: Connection, service_id: str, target_id: str, state: str, error: ErrorResponse) -> bool:
    """Keep the current deployment and drop the target. Return False if the target changed in the meantime.

    Args:
        state: `Failed` or `Cancelled`.
    """
    deployments = schema.deployments
    if not _is_target(db, service_id, target_id):
        return False
    db.execute(update(deployments).where(deployments.c.id == target_id).values(status=state, expired_at=now()))
    _end_rollout(db, service_id, state, error)
    _withdraw_made_versions(db, service_id)
    return True


def delete_service(db: Connection, service_id: str) -> bool:
    """Mark a service for deletion, end its deployments and cancel its operation. Return False if it does not exist."""
    services, deployments = schema.services, schema.deployments
    marked = db.execute(
        update(services)
        .where(services.c.id == service_id, ~services.c.deleting)
        .values(deleting=True, target_id=None, updated_at=now())
    )
    if marked.rowcount == 0:
        return False
    db.execute(
        update(deployments)
        .where(deployments.c.service_id == service_id, deployments.c.expired_at.is_(None))
        .values(status="Expired", expired_at=now())
    )
    forget_secrets(db, service_id)
    removed = ErrorResponse(code="Removed", message="The service or candidate was removed before the operation ended.")
    if _end_operation(db, service_id, "Cancelled", removed):
        _withdraw_made_versions(db, service_id)
    return True


def traffic_changed(db: Connection, candidate_id: str, before: schema.Traffic, after: schema.Traffic) -> bool:
    """Change the canary or mirror of a candidate. Return False if another request has changed them meanwhile.

    If the canary is taken back, the reason is also recorded in the deployment.
    """
    services, deployments = schema.services, schema.deployments
    current = select(services.c.traffic).where(services.c.id == candidate_id, ~services.c.deleting)
    if db.scalar(current) != before:
        return False
    db.execute(update(services).where(services.c.id == candidate_id).values(traffic=after))
    canary = after.canary
    if canary is None or canary.state != "TakenBack":
        return True
    of_candidate = deployments.c.service_id == candidate_id
    for row in db.execute(select(deployments.c.id, deployments.c.change).where(of_candidate)).all():
        record = msgspec.structs.replace(row.change, outcome=canary.reason)
        db.execute(update(deployments).where(deployments.c.id == row.id).values(change=record))
    return True


def forget_kept(db: Connection, service_id: str | None = None) -> None:
    """Record that the replaced replicas of a service, or of all services, are no longer kept for a rollback."""
    deployments = schema.deployments
    kept = select(deployments.c.id, deployments.c.change).where(cast(deployments.c.change, Text).contains("keptUntil"))
    if service_id is not None:
        kept = kept.where(deployments.c.service_id == service_id)
    for row in db.execute(kept.where(deployments.c.expired_at.is_(None))).all():
        record = msgspec.structs.replace(row.change, kept_until=None)
        db.execute(update(deployments).where(deployments.c.id == row.id).values(change=record))


def service_removed(db: Connection, service_id: str) -> None:
    """Remove the row of a service that is marked for deletion.

    The deployments of a candidate are removed too. If its canary was taken back, they are added to the history of its
    service instead, as failed.
    """
    services, deployments = schema.services, schema.deployments
    row = db.execute(select(services).where(services.c.id == service_id, services.c.deleting)).one_or_none()
    if row is not None and row.candidate_of is not None:
        of_candidate = deployments.c.service_id == service_id
        canary = row.traffic and row.traffic.canary
        if canary is not None and canary.state == "TakenBack":
            values = {"service_id": row.candidate_of, "status": "Failed"}
            db.execute(update(deployments).where(of_candidate).values(values))
        else:
            db.execute(delete(deployments).where(of_candidate))
    db.execute(delete(services).where(services.c.id == service_id, services.c.deleting))


def _withdraw_made_versions(db: Connection, resource_id: str) -> None:
    """Withdraw the versions of the operation on a resource that just failed, which is the last one."""
    operations = schema.operations
    last = select(operations.c.id).where(operations.c.resource_id == resource_id).order_by(operations.c.seq.desc())
    operation_id = db.scalar(last.limit(1))
    if operation_id is not None:
        withdraw_made_versions(db, operation_id)


def _list_again(db: Connection, deployment_id: str) -> None:
    """List the image of a deployment again, with its manifest and models, if it was withdrawn.

    A service that did not start keeps its image; it may start with another setting, such as a variable.
    """
    images, manifests, models, links = schema.images, schema.manifests, schema.models, schema.manifest_models
    of_deployment = select(schema.deployments.c.image_id).where(schema.deployments.c.id == deployment_id)
    image = db.execute(select(images).where(images.c.id == of_deployment.scalar_subquery())).one()
    if image.withdrawn_at is None:
        return
    used = select(links.c.model_id).where(links.c.manifest_id == image.manifest_id)
    for table, condition in (
        (images, images.c.id == image.id),
        (manifests, manifests.c.id == image.manifest_id),
        (models, models.c.id.in_(used)),
    ):
        db.execute(update(table).where(condition).values(withdrawn_at=None))


def _is_target(db: Connection, service_id: str, target_id: str) -> bool:
    services = schema.services
    found = select(services.c.id).where(
        services.c.id == service_id, services.c.target_id == target_id, ~services.c.deleting
    )
    return db.execute(found).one_or_none() is not None


def _end_rollout(db: Connection, service_id: str, state: str, error: ErrorResponse | None, **changes: Any) -> None:
    services = schema.services
    db.execute(
        update(services)
        .where(services.c.id == service_id)
        .values(state=state, error=error, target_id=None, adopts_id=None, updated_at=now(), **changes)
    )
    kept = select(services.c.deployment_id).where(services.c.id == service_id).scalar_subquery()
    forget_secrets(db, service_id, schema.deployments.c.id != kept)
    _end_operation(db, service_id, state, error)


def forget_secrets(db: Connection, service_id: str, *which: ColumnElement[bool]) -> None:
    """Remove the secrets of all deployments of a service, or of those that match the conditions."""
    deployments = schema.deployments
    db.execute(update(deployments).where(deployments.c.service_id == service_id, *which).values(secrets=None))


def _add_warning(db: Connection, resource_id: str, warning: str) -> None:
    warnings = schema.operations.c.warning
    is_open = [schema.operations.c.resource_id == resource_id, schema.operations.c.end_time.is_(None)]
    both = func.coalesce(warnings + "; ", "") + warning
    db.execute(update(schema.operations).where(*is_open).values(warning=both))


def _end_operation(
    db: Connection, resource_id: str, state: str, error: ErrorResponse | None, claimed_by: str | None = None
) -> bool:
    operations = schema.operations
    is_open = [operations.c.resource_id == resource_id, operations.c.end_time.is_(None)]
    if claimed_by is not None:
        is_open.append(operations.c.claimed_by == claimed_by)
    ended = db.execute(update(operations).where(*is_open).values(state=state, error=error, end_time=now()))
    return bool(ended.rowcount)
