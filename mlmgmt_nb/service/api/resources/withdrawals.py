"""Withdrawals of versions that a failed deployment made. Extensions.

A withdrawn version keeps its number and its id, so that the operation that failed, its log and the history of services
stay readable. It is not deleted: a service that did not start may start with it after all, and then it is listed again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table, select, update

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import conflict
from mlmgmt_nb.service.store import schema

__all__ = ["image", "manifest", "model"]


def model(call: Call) -> Reply:
    """Withdraw a version of a model, such as one of a failed deployment. 409 if a manifest refers to it.

    Lists omit a withdrawn version, and nothing new can use it; `GET` with its id still returns it. Its number is not
    used again. Returns 204.
    """
    links, manifests = schema.manifest_models, schema.manifests
    users = select(manifests.c.name, manifests.c.version).join(links, links.c.manifest_id == manifests.c.id)
    return _withdrawn(
        call, schema.models, "manifest", users.where(links.c.model_id == call.id, manifests.c.withdrawn_at.is_(None))
    )


def manifest(call: Call) -> Reply:
    """Withdraw a version of a manifest, as for models. 409 if an image was built from it."""
    images = schema.images
    users = select(images.c.name, images.c.version)
    return _withdrawn(
        call,
        schema.manifests,
        "image",
        users.where(images.c.manifest_id == call.id, images.c.withdrawn_at.is_(None)),
    )


def image(call: Call) -> Reply:
    """Withdraw an image, as for models. 409 if a service runs it or is about to, or if it is being built.

    A service that did not start keeps its image. If it starts with other settings, the image, its manifest and its
    models are listed again.
    """
    deployments, services, images = schema.deployments, schema.services, schema.images
    users = (
        select(services.c.name)
        .join(deployments, deployments.c.id.in_([services.c.deployment_id, services.c.target_id]))
        .where(
            deployments.c.image_id == call.id,
            deployments.c.status.not_in(["Failed", "Cancelled"]),
            ~services.c.deleting,
        )
    )
    return _withdrawn(call, images, "service", users)


def _withdrawn(call: Call, table: Table, kind: str, users: Select[Any]) -> Reply:
    with call.backend.store.writing() as db:
        row = row_of(db, call, table)
        if table is schema.images and row.state in {"NotStarted", "Running"}:
            raise conflict("ImageNotReady", f"The build of this image is in state {row.state}; wait until it ends.")
        _check_unused(db, kind, users)
        if row.withdrawn_at is None:
            db.execute(update(table).where(table.c.id == row.id).values(withdrawn_at=now()))
    return Reply(204)


def _check_unused(db: Connection, kind: str, users: Select[Any]) -> None:
    user = db.execute(users.limit(1)).first()
    if user is not None:
        name, *version = user
        which = " version ".join([repr(name), *map(str, version)])
        raise conflict("InUse", f"The {kind} {which} uses it, so it cannot be withdrawn.")
