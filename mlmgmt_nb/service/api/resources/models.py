"""Models: immutable once registered."""

from __future__ import annotations

import uuid

import msgspec
from sqlalchemy import insert, select

from mlmgmt_nb.contract import Model
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import document, documents, next_version
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import bad_field
from mlmgmt_nb.service.store import schema

__all__ = ["get", "list_", "register"]


def register(call: Call) -> Reply:
    given: Model = call.body
    for field, value in (("name", given.name), ("url", given.url)):
        if not value:
            raise bad_field(f"$.{field}", "is empty.")
    with call.backend.store.writing() as db:
        model = msgspec.structs.replace(
            given,
            id=str(uuid.uuid4()),
            version=next_version(db, schema.models, call.account, given.name),
            created_at=now(),
        )
        doc = msgspec.json.encode(model)
        added = db.execute(
            insert(schema.models),
            {"id": model.id, "account": call.account, "name": model.name, "version": model.version, "doc": doc},
        )
        if tags := set(model.tags or ()):
            seq = added.inserted_primary_key.seq  # type: ignore[union-attr]
            db.execute(insert(schema.model_tags), [{"tag": tag, "model_seq": seq} for tag in sorted(tags)])
    call.backend.prepare_replica()
    return Reply(200, doc)


def list_(call: Call) -> Reply:
    models, tags = schema.models, schema.model_tags
    query, order = select(models), None
    if (name := call.query.get("name")) is not None:
        query = query.where(models.c.name == name)
    if (tag := call.query.get("tag")) is not None:
        query = query.join(tags, tags.c.model_seq == models.c.seq).where(tags.c.tag == tag)
        # The index of tags has the models of a tag in order; a name has fewer models than most tags.
        order = tags.c.model_seq if name is None else None
    return documents(call, models, query, order)


def get(call: Call) -> Reply:
    return document(call, schema.models)
