"""Services in the store, with their current deployment, its image and the manifest of that image."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.deployments import DEPLOYMENT_COLUMNS
from mlmgmt_nb.service.api.resources.images import IMAGE_COLUMNS
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.store import schema

__all__ = [
    "DEPLOYMENT",
    "ID",
    "IMAGE",
    "MANIFEST_ID",
    "NAME",
    "SERVICE",
    "SERVICE_COLUMNS",
    "candidate_row",
    "listed",
    "selected",
    "service_of",
]

_OPERATIONS, _LATER = schema.operations, schema.operations.alias("later")
_LAST_WARNING = (
    select(_OPERATIONS.c.warning)
    .where(
        _OPERATIONS.c.resource_id == schema.services.c.id,
        # First the operations with a warning, which have an index of their own: most services have none.
        _OPERATIONS.c.warning.is_not(None),
        ~exists().where(_LATER.c.resource_id == _OPERATIONS.c.resource_id, _LATER.c.seq > _OPERATIONS.c.seq),
    )
    .limit(1)
    .scalar_subquery()
    .label("warning")
)
"""The warning of the last operation of a service."""

SERVICE_COLUMNS = (
    *(schema.services.c[name] for name in ("id", "name", "compute_id", "compute_given", "state", "error", "port")),
    *(schema.services.c[name] for name in ("scale", "created_at", "updated_at", "candidate_of")),
    *(schema.deployments.c[name] for name in ("spec", "secrets")),
    schema.images.c.manifest_id,
    _LAST_WARNING,
)
"""The columns of a service in responses, besides those of its deployment and its image."""

_SIZES = [len(each) for each in (SERVICE_COLUMNS, IMAGE_COLUMNS, DEPLOYMENT_COLUMNS)]
_NAMES = [column.name for column in SERVICE_COLUMNS]
ID, NAME, MANIFEST_ID = map(_NAMES.index, ("id", "name", "manifest_id"))
SERVICE = slice(_SIZES[0])
IMAGE = slice(_SIZES[0], _SIZES[0] + _SIZES[1])
DEPLOYMENT = slice(_SIZES[0] + _SIZES[1], sum(_SIZES))
"""The places of these columns in a row."""


@cache
def listed() -> Select[Any]:
    """Select services with the columns of responses: those of the service, its image, and its current deployment."""
    services, deployments, images, manifests = schema.services, schema.deployments, schema.images, schema.manifests
    image_columns = [column.label(f"image_{column.name}") for column in IMAGE_COLUMNS]
    deployment_columns = [column.label(f"deployment_{column.name}") for column in DEPLOYMENT_COLUMNS]
    return (
        select(*SERVICE_COLUMNS, *image_columns, *deployment_columns, services.c.seq)
        # Both columns, so that the services of an image are found from its deployments.
        .join_from(
            services,
            deployments,
            (deployments.c.id == services.c.deployment_id) & (deployments.c.service_id == services.c.id),
        )
        .join(images, images.c.id == deployments.c.image_id)
        .join(manifests, manifests.c.id == images.c.manifest_id)
        .where(~services.c.deleting)
    )


@cache
def selected() -> Select[Any]:
    """Select services with the columns of responses, and the other columns of services after them."""
    query = listed()
    known = {*query.selected_columns.keys(), "seq"}
    return query.add_columns(*(column for column in schema.services.c if column.name not in known))


def service_of(db: Connection, call: Call, *, or_candidate: bool = False) -> Row[Any]:
    """Return the service that the path of a request names.

    Args:
        or_candidate: whether the path may name a candidate, which has its own id.
    """
    query = selected()
    if not or_candidate:
        query = query.where(schema.services.c.candidate_of.is_(None))
    return row_of(db, call, schema.services, query)


def candidate_row(db: Connection, service: Row[Any]) -> Row[Any] | None:
    """Return the candidate of a service, or None."""
    return db.execute(selected().where(schema.services.c.candidate_of == service.id)).one_or_none()
