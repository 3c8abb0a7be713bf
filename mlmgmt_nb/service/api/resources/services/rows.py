"""Services in the store, with their current deployment, its image and the manifest of that image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.deployments import DEPLOYMENT_COLUMNS
from mlmgmt_nb.service.api.resources.images import IMAGE_COLUMNS
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.store import schema

__all__ = ["DEPLOYMENT_LABELS", "IMAGE_LABELS", "LISTED", "candidate_row", "selected", "service_of"]

IMAGE_LABELS = {name: f"image_{name}" for name in IMAGE_COLUMNS}
"""Labels of the columns of the image, by column."""
DEPLOYMENT_LABELS = {name: f"deployment_{name}" for name in DEPLOYMENT_COLUMNS}
"""Labels of the columns of the current deployment, by column."""

LISTED = [
    schema.services.c[name]
    for name in (
        *("seq", "id", "name", "compute_id", "compute_given", "state", "error", "deployment_id", "port", "scale"),
        *("created_at", "updated_at", "candidate_of"),
    )
]
"""The columns of a service that responses need; its keys, among others, are left out."""


def selected(columns: Iterable[Any] = schema.services.c) -> Select[Any]:
    """Select services with their current deployment, its image and the manifest of that image, and the warning of
    their last operation.

    Args:
        columns: columns of services to select.
    """
    services, deployments, images, manifests = schema.services, schema.deployments, schema.images, schema.manifests
    operations = schema.operations
    image_columns = [images.c[name].label(label) for name, label in IMAGE_LABELS.items()]
    deployment_columns = [deployments.c[name].label(label) for name, label in DEPLOYMENT_LABELS.items()]
    last_operation = select(operations.c.warning).where(operations.c.resource_id == services.c.id)
    warning = last_operation.order_by(operations.c.seq.desc()).limit(1).scalar_subquery()
    return (
        select(
            *columns,
            deployments.c.spec,
            deployments.c.secrets,
            *deployment_columns,
            *image_columns,
            manifests.c.doc.label("manifest_doc"),
            warning.label("warning"),
        )
        # Both columns, so that the services of an image are found from its deployments.
        .join(deployments, (deployments.c.id == services.c.deployment_id) & (deployments.c.service_id == services.c.id))
        .join(images, images.c.id == deployments.c.image_id)
        .join(manifests, manifests.c.id == images.c.manifest_id)
        .where(~services.c.deleting)
    )


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
