"""Withdrawals of versions that a failed deployment made. Extensions.

A withdrawn version keeps its number and its id, so that the operation that failed, its log and the history of services
stay readable. It is not deleted: a service that did not start may start with it after all, and then it is listed again.
"""

from __future__ import annotations

from sqlalchemy import Table, update

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import conflict, not_found
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.withdrawals import unknown_version, user_of, withdraw, withdraw_made_versions

__all__ = ["image", "manifest", "model", "on_failure"]


def model(call: Call) -> Reply:
    """Withdraw a version of a model, such as one of a failed deployment. 409 if a manifest refers to it.

    Lists omit a withdrawn version, and nothing new can use it; `GET` with its id still returns it. Its number is not
    used again. Returns 204.
    """
    return _withdrawn(call, schema.models)


def manifest(call: Call) -> Reply:
    """Withdraw a version of a manifest, as for models. 409 if an image was built from it."""
    return _withdrawn(call, schema.manifests)


def image(call: Call) -> Reply:
    """Withdraw an image, as for models. 409 if a service runs it or is about to, or if it is being built.

    A service that did not start keeps its image. If it starts with other settings, the image, its manifest and its
    models are listed again.
    """
    return _withdrawn(call, schema.images)


def on_failure(call: Call) -> Reply:
    """Withdraw `versions` (ids in the query, separated by commas, oldest first) if this operation fails.

    A deployment names the models, the manifest and the image that it made, so that it need not wait for the operation.
    Versions that something uses by then are kept. The image of a failed build is withdrawn too. If the operation has
    already failed or was cancelled, they are withdrawn immediately. Returns 204.
    """
    ids = list(filter(None, call.query.get("versions", "").split(",")))
    operations = schema.operations
    with call.backend.store.writing() as db:
        row = row_of(db, call, operations)
        unknown = unknown_version(db, call.account, ids)
        if unknown is not None:
            raise not_found("version", unknown, "versions")
        db.execute(update(operations).where(operations.c.id == row.id).values(made_versions=ids))
        if row.state in {"Failed", "Cancelled"}:
            withdraw_made_versions(db, row.id)
    return Reply(204)


def _withdrawn(call: Call, table: Table) -> Reply:
    with call.backend.store.writing() as db:
        row = row_of(db, call, table)
        if table is schema.images and row.state in {"NotStarted", "Running"}:
            raise conflict("ImageNotReady", f"The build of this image is in state {row.state}; wait until it ends.")
        user = user_of(db, table, row.id)
        if user is not None:
            raise conflict("InUse", f"The {user} uses it, so it cannot be withdrawn.")
        withdraw(db, table, row.id)
    return Reply(204)
