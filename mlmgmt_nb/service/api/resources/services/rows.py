"""Services in the store, with their current deployment, its image and the manifest of that image."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, select

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.store import schema

__all__ = ["DEPLOYMENT_COLUMNS", "selected", "service_of"]

DEPLOYMENT_COLUMNS = ("service_name", "image_id", "status", "created_at", "expired_at", "change")
"""Columns of the current deployment, which `selected` calls `deployment_NAME`."""


def selected() -> Select[Any]:
    """Select services with their current deployment, its image and the manifest of that image."""
    services, deployments, images, manifests = schema.services, schema.deployments, schema.images, schema.manifests
    deployment_columns = [deployments.c[name].label(f"deployment_{name}") for name in DEPLOYMENT_COLUMNS]
    image_columns = [column.label(f"image_{column.name}") for column in images.c]
    return (
        select(
            services,
            deployments.c.spec,
            deployments.c.secrets,
            *deployment_columns,
            *image_columns,
            manifests.c.doc.label("manifest_doc"),
        )
        .join(deployments, deployments.c.id == services.c.deployment_id)
        .join(images, images.c.id == deployments.c.image_id)
        .join(manifests, manifests.c.id == images.c.manifest_id)
        .where(~services.c.deleting)
    )


def service_of(db: Connection, call: Call) -> Row[Any]:
    """Return the service that the path of a request names."""
    return row_of(db, call, schema.services, selected())
