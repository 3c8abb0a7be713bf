"""Manifests: immutable once registered; their models must be registered."""

from __future__ import annotations

import uuid

import msgspec
from sqlalchemy import Connection, insert, select

from mlmgmt_nb.contract import Manifest
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import document, documents, next_version
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import bad_field, not_found
from mlmgmt_nb.service.store import schema

__all__ = ["get", "list_", "register"]


def register(call: Call) -> Reply:
    given: Manifest = call.body
    if not given.name:
        raise bad_field("$.name", "is empty; enter a name.")
    with call.backend.store.writing() as db:
        _check_models(db, call.account, given)
        _check_assets(given)
        manifest = msgspec.structs.replace(
            given,
            id=str(uuid.uuid4()),
            version=next_version(db, schema.manifests, call.account, given.name),
            created_time=now(),
            model_type=given.model_type or "Registered",
            webservice_type=given.webservice_type or "Realtime",
        )
        doc = msgspec.json.encode(manifest)
        db.execute(
            insert(schema.manifests).values(
                id=manifest.id, account=call.account, name=manifest.name, version=manifest.version, doc=doc
            )
        )
        # A model that is listed twice counts once.
        if models := list(dict.fromkeys(given.model_ids or ())):
            rows = [
                {"manifest_id": manifest.id, "model_id": model_id, "position": position}
                for position, model_id in enumerate(models)
            ]
            db.execute(insert(schema.manifest_models), rows)
    return Reply(200, doc)


def _check_models(db: Connection, account: str, manifest: Manifest) -> None:
    table = schema.models
    for index, model_id in enumerate(manifest.model_ids or ()):
        known = select(table.c.seq).where(table.c.account == account, table.c.id == model_id)
        if db.scalar(known.where(table.c.withdrawn_at.is_(None))) is None:
            raise not_found("model", model_id, f"$.modelIds[{index}]")


def _check_assets(manifest: Manifest) -> None:
    ids = [asset.id for asset in manifest.assets]
    if manifest.driver_program not in ids:
        known = ", ".join(repr(asset_id) for asset_id in ids if asset_id) or "none"
        raise bad_field("$.driverProgram", f"no asset has the id {manifest.driver_program!r}; asset ids: {known}.")


def list_(call: Call) -> Reply:
    manifests, links = schema.manifests, schema.manifest_models
    query = select(manifests)
    if (name := call.query.get("manifestName")) is not None:
        query = query.where(manifests.c.name == name)
    if (model_id := call.query.get("modelId")) is not None:
        query = query.join(links, links.c.manifest_id == manifests.c.id).where(links.c.model_id == model_id)
    return documents(call, manifests, query, is_filtered=name is None and model_id is not None)


def get(call: Call) -> Reply:
    return document(call, schema.manifests)
