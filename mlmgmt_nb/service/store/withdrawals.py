"""Withdraw versions: lists omit them, and nothing new can use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, Table, select, update

from mlmgmt_nb.contract import ErrorDetail
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.store import schema

__all__ = ["unknown_version", "user_of", "withdraw", "withdraw_made_versions"]


def user_of(db: Connection, table: Table, version_id: str) -> str | None:
    """Return the name of something that uses a version, such as `image 'iris' version 2`; None if nothing does."""
    kind, users = _USERS[table.name]
    user = db.execute(users(version_id).limit(1)).first()
    return None if user is None else _name(kind, *user)


def withdraw(db: Connection, table: Table, version_id: str) -> None:
    """Withdraw a version that nothing uses. Withdrawing it again changes nothing."""
    is_listed = (table.c.id == version_id, table.c.withdrawn_at.is_(None))
    db.execute(update(table).where(*is_listed).values(withdrawn_at=now()))


def withdraw_made_versions(db: Connection, operation_id: str) -> None:
    """Withdraw the versions that are recorded for a failed operation, unless something else uses them.

    If the operation built an image, the image is withdrawn too. The error of the operation describes the outcome.
    """
    operations = schema.operations
    operation = db.execute(select(operations).where(operations.c.id == operation_id)).one()
    if operation.made_versions is None:
        return
    own_image = [operation.resource_id] if operation.kind == "Image" else []
    outcome = _withdraw_unused(db, operation.account, [*operation.made_versions, *own_image])
    if operation.error is None or not outcome:
        return
    kept = [detail for detail in operation.error.details or () if detail.code != _CODE]
    error = msgspec.structs.replace(operation.error, details=[*kept, ErrorDetail(code=_CODE, message=outcome)])
    db.execute(update(operations).where(operations.c.id == operation_id).values(error=error))


def unknown_version(db: Connection, account: str, ids: Sequence[str]) -> str | None:
    """Return the first id that does not belong to a model, manifest or image of the account; None if all do."""
    return next((version_id for version_id in ids if _find(db, account, version_id) is None), None)


_CODE = "Withdrawn"


def _withdraw_unused(db: Connection, account: str, ids: Sequence[str]) -> str:
    """Withdraw versions that nothing uses, last first; return the outcome as text."""
    gone, left = list[str](), list[str]()
    for table, row in _found(db, account, reversed(ids)):
        is_used = user_of(db, table, row.id) is not None
        if not is_used:
            withdraw(db, table, row.id)
        (left if is_used else gone).append(_name(table.name.removesuffix("s"), row.name, row.version))
    parts = [f"{', '.join(gone)} {_were(gone)} withdrawn"] if gone else []
    parts += [f"{', '.join(left)} {_were(left)} left behind, because something uses it"] if left else []
    return "; ".join(parts)


def _found(db: Connection, account: str, ids: Iterator[str]) -> Iterator[tuple[Table, Row[Any]]]:
    yield from filter(None, (_find(db, account, version_id) for version_id in ids))


def _find(db: Connection, account: str, version_id: str) -> tuple[Table, Row[Any]] | None:
    """Return the row of a version, and its table."""
    for table in (schema.models, schema.manifests, schema.images):
        columns: Select[Any] = select(table.c.id, table.c.name, table.c.version)
        row = db.execute(columns.where(table.c.account == account, table.c.id == version_id)).one_or_none()
        if row is not None:
            return table, row
    return None


def _manifests_of(model_id: str) -> Select[Any]:
    links, manifests = schema.manifest_models, schema.manifests
    users = select(manifests.c.name, manifests.c.version).join(links, links.c.manifest_id == manifests.c.id)
    return users.where(links.c.model_id == model_id, manifests.c.withdrawn_at.is_(None))


def _images_of(manifest_id: str) -> Select[Any]:
    images = schema.images
    users = select(images.c.name, images.c.version)
    return users.where(images.c.manifest_id == manifest_id, images.c.withdrawn_at.is_(None))


def _services_of(image_id: str) -> Select[Any]:
    """Select the services that run an image or are about to."""
    deployments, services = schema.deployments, schema.services
    users = select(services.c.name).join(
        deployments, deployments.c.id.in_([services.c.deployment_id, services.c.target_id])
    )
    return users.where(
        deployments.c.image_id == image_id,
        deployments.c.status.not_in(["Failed", "Cancelled"]),
        ~services.c.deleting,
    )


_USERS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "models": ("manifest", _manifests_of),
        "manifests": ("image", _images_of),
        "images": ("service", _services_of),
    }
)
"""The kind of resource that uses a version, and the query for these resources, by table."""


def _name(kind: str, name: str, version: int | None = None) -> str:
    return f"{kind} {name!r}" if version is None else f"{kind} {name!r} version {version}"


def _were(several: Sequence[str]) -> str:
    return "was" if len(several) == 1 else "were"
