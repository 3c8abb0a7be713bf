"""Archives of models, manifests and images: lists can omit archived versions. Extensions.

Nothing else changes: an archived version can be read by its id, its files are kept as before, and services that use it
can be updated and rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, select, update

from mlmgmt_nb.contract.archiving import Archived, VersionName
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import bad_field
from mlmgmt_nb.service.store import schema

__all__ = [
    "archive_image",
    "archive_manifest",
    "archive_model",
    "unarchive_image",
    "unarchive_manifest",
    "unarchive_model",
]


def archive_model(call: Call) -> Reply:
    """Archive a version of a model; with `versions=all` in the query, all versions of its name.

    Lists with `archived=false` omit it; others have it, with the property `archived`. Nothing is deleted: it can be
    read by its id and used as before. Returns `kind`, `archived`, `versions` (id, name and version of those that
    changed), and `services`: names of the services that run one of the versions, or did and could go back to it.
    """
    return _archived(call, schema.models, is_archived=True)


def unarchive_model(call: Call) -> Reply:
    """List an archived version of a model again, with the query and response of `archive`."""
    return _archived(call, schema.models, is_archived=False)


def archive_manifest(call: Call) -> Reply:
    """Archive a version of a manifest, as for models."""
    return _archived(call, schema.manifests, is_archived=True)


def unarchive_manifest(call: Call) -> Reply:
    """List an archived version of a manifest again, as for models."""
    return _archived(call, schema.manifests, is_archived=False)


def archive_image(call: Call) -> Reply:
    """Archive an image, as for models."""
    return _archived(call, schema.images, is_archived=True)


def unarchive_image(call: Call) -> Reply:
    """List an archived image again, as for models."""
    return _archived(call, schema.images, is_archived=False)


def _archived(call: Call, table: Table, *, is_archived: bool) -> Reply:
    requested = call.query.get("versions", "this")
    if requested not in {"this", "all"}:
        raise bad_field("versions", f"{requested!r} is not valid; use `this` or `all`.")
    kind = cast("Literal['model', 'manifest', 'image']", table.name.removesuffix("s"))
    with call.backend.store.writing() as db:
        row = row_of(db, call, table)
        is_named = table.c.id == row.id
        if requested == "all":
            is_named = (table.c.account == call.account) & (table.c.name == row.name)
        is_other = table.c.archived_at.is_(None) if is_archived else table.c.archived_at.is_not(None)
        is_changed = (is_named, is_other, table.c.withdrawn_at.is_(None))
        columns = select(table.c.id, table.c.name, table.c.version).where(*is_changed).order_by(table.c.seq.desc())
        changed = [VersionName(id=one.id, name=one.name, version=one.version) for one in db.execute(columns)]
        db.execute(update(table).where(*is_changed).values(archived_at=now() if is_archived else None))
        services = _services(db, table, is_named) if is_archived else []
    return Reply(200, Archived(kind=kind, archived=is_archived, versions=changed, services=services))


def _services(db: Connection, table: Table, is_named: ColumnElement[bool]) -> list[str]:
    """Return the names of the services with a deployment of one of the versions."""
    services, deployments = schema.services, schema.deployments
    query = (
        select(services.c.name)
        .distinct()
        .join(deployments, deployments.c.service_id == services.c.id)
        .where(deployments.c.image_id.in_(_IMAGES[table.name](is_named)))
        .where(~services.c.deleting, services.c.candidate_of.is_(None))
    )
    return sorted(db.scalars(query))


def _images_of_models(is_named: ColumnElement[bool]) -> Select[Any]:
    links, models, images = schema.manifest_models, schema.models, schema.images
    of_links = select(images.c.id).join(links, links.c.manifest_id == images.c.manifest_id)
    return of_links.join(models, models.c.id == links.c.model_id).where(is_named)


def _images_of_manifests(is_named: ColumnElement[bool]) -> Select[Any]:
    images, manifests = schema.images, schema.manifests
    return select(images.c.id).join(manifests, manifests.c.id == images.c.manifest_id).where(is_named)


_IMAGES: Mapping[str, Any] = MappingProxyType(
    {
        "models": _images_of_models,
        "manifests": _images_of_manifests,
        "images": lambda is_named: select(schema.images.c.id).where(is_named),
    }
)
"""The query for the images that contain given versions, by the table of the versions."""
