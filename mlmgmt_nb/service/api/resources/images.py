"""Images: requested here, built by the builder."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import Row, Select, insert, select

from mlmgmt_nb.contract import Image, ImageRequest, Manifest
from mlmgmt_nb.contract.extensions import ArchivableImage, DetailedImage
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.paging import Page, page
from mlmgmt_nb.service.api.resources import operations
from mlmgmt_nb.service.api.resources.lookup import in_account, is_listed, next_version, row_of
from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.compute_ids import LOCAL
from mlmgmt_nb.service.files.logs import log_reply
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import not_found
from mlmgmt_nb.service.store import schema

__all__ = ["IMAGE_COLUMNS", "build_log", "create", "get", "image_of", "list_"]


def create(call: Call) -> Reply:
    request: ImageRequest = call.body
    manifests = schema.manifests
    with call.backend.store.writing() as db:
        known = select(manifests.c.id).where(manifests.c.account == call.account, manifests.c.id == request.manifest_id)
        if db.scalar(known.where(manifests.c.withdrawn_at.is_(None))) is None:
            raise not_found("manifest", request.manifest_id, "$.manifestId")
        path = "$.computeResourceId"
        compute = call.backend.computes.choose(db, call.account, request.compute_resource_id, path, is_for_image=True)
        image_id = str(uuid.uuid4())
        db.execute(
            insert(schema.images).values(
                id=image_id,
                account=call.account,
                name=request.name,
                version=next_version(db, schema.images, call.account, request.name),
                manifest_id=request.manifest_id,
                compute_id=compute.id,
                compute_given=compute.given,
                description=request.description,
                state="NotStarted",
                created_at=now(),
            )
        )
        operation_id = operations.begin(db, call.account, "Image", image_id, compute.warning)
    call.backend.images_changed()
    return operations.accepted(call, operation_id)


IMAGE_COLUMNS = (
    *(schema.images.c[name] for name in ("id", "name", "version", "created_at", "state", "description", "error")),
    *(schema.images.c[name] for name in ("compute_given", "compute_id", "location")),
    schema.manifests.c.doc,
)
"""The columns of an image in responses, in the order of `image_of`."""


def image_of(columns: Sequence[Any], base_url: str) -> Image:
    """Return the image of a response from the values of `IMAGE_COLUMNS`. Its manifest is the stored JSON."""
    id_, name, version, created_at, state, description, error, compute_given, compute_id, location, manifest = columns
    return Image(
        id=id_,
        name=name,
        version=version,
        created_time=created_at,
        creation_state=state,
        description=description,
        error=error,
        compute_resource_id=compute_given or compute_id,
        image_type="Docker",
        image_location=location,
        image_build_log_uri=f"{base_url}/images/{id_}/buildLog",
        manifest=cast("Manifest", msgspec.Raw(manifest)),
    )


def _selected() -> Select[Any]:
    """Select the columns of responses, and others after them."""
    images, manifests = schema.images, schema.manifests
    query = select(*IMAGE_COLUMNS, images.c.seq, images.c.archived_at)
    return query.join_from(images, manifests, manifests.c.id == images.c.manifest_id)


def list_(call: Call) -> Reply:
    images, manifests = schema.images, schema.manifests
    is_filtered = "manifestId" in call.query or "manifestName" in call.query
    query = _selected().where(in_account(images, call.account, is_filtered=is_filtered), is_listed(images, call))
    if (manifest_id := call.query.get("manifestId")) is not None:
        query = query.where(images.c.manifest_id == manifest_id)
    if (manifest_name := call.query.get("manifestName")) is not None:
        query = query.where(manifests.c.account == call.account, manifests.c.name == manifest_name)
    with call.backend.store.reading() as db:
        rows, next_link = page(db, query, schema.images, call.query, f"{call.base_url}/images")
    return Reply(200, Page([_listed(row, call.base_url) for row in rows], next_link))


def _listed(row: Row[Any], base_url: str) -> Image | ArchivableImage:
    """Return an image of a list, with the property `archived` if it is archived."""
    image = image_of(row[: len(IMAGE_COLUMNS)], base_url)
    if row.archived_at is None:
        return image
    return ArchivableImage(**msgspec.structs.asdict(image), archived=True)


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        row = row_of(db, call, schema.images, _selected())
    image = image_of(row[: len(IMAGE_COLUMNS)], call.base_url)
    docker = _docker(call, row) if row.state == "Succeeded" and row.compute_id != LOCAL else None
    is_archived = row.archived_at is not None
    return Reply(200, DetailedImage(**msgspec.structs.asdict(image), docker=docker, archived=is_archived))


def _docker(call: Call, row: Row[Any]) -> BuiltImage | None:
    """Return the Docker image of an image; None if its record is damaged or was removed with its files."""
    with contextlib.suppress(BuildError):
        return BuiltImage.of(call.backend.home.images / str(row.id))
    return None


def build_log(call: Call) -> Reply:
    """Return the build log as text; `Range: bytes=N-` and `bytes=-N` select a part. 416 if the part does not exist."""
    with call.backend.store.reading() as db:
        row = row_of(db, call, schema.images)
    return log_reply(call.backend.build_log(row.id), call.request)
