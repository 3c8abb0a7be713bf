"""Models: registered once, never changed."""

from __future__ import annotations

import uuid
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, Table, bindparam, func, insert, select

from mlmgmt_nb.contract import Model
from mlmgmt_nb.service import schema
from mlmgmt_nb.service.app import Call
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http import Reply
from mlmgmt_nb.service.pages import Page, page
from mlmgmt_nb.service.problems import bad_field, not_found

__all__ = ["get", "list_", "next_version", "register"]


def next_version(db: Connection, table: Table, account: str, name: str) -> int:
    """The version that the next row of a name gets. Call it inside the write that adds the row."""
    return (db.scalar(_last_version(table), {"account": account, "name": name}) or 0) + 1


@cache
def _last_version(table: Table) -> Select[Any]:
    # Made once: making a statement takes longer than running it.
    same_name = (table.c.account == bindparam("account"), table.c.name == bindparam("name"))
    return select(func.max(table.c.version)).where(*same_name)


def register(call: Call) -> Reply:
    given: Model = call.body
    for field, value in (("name", given.name), ("url", given.url)):
        if not value:
            raise bad_field(f"$.{field}", "must not be empty.")
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
    return Reply(200, doc)


def list_(call: Call) -> Reply:
    table = schema.models
    query = select(table.c.seq, table.c.doc).where(table.c.account == call.account)
    if (name := call.query.get("name")) is not None:
        query = query.where(table.c.name == name)
    if (tag := call.query.get("tag")) is not None:
        query = query.join(schema.model_tags, schema.model_tags.c.model_seq == table.c.seq).where(
            schema.model_tags.c.tag == tag
        )
    with call.backend.store.reading() as db:
        rows, next_link = page(db, query, table, call.query, f"{call.base_url}/models")
    return Reply(200, Page([msgspec.Raw(row.doc) for row in rows], next_link))


def get(call: Call) -> Reply:
    table = schema.models
    with call.backend.store.reading() as db:
        doc = db.scalar(select(table.c.doc).where(table.c.account == call.account, table.c.id == call.id))
    if doc is None:
        raise not_found("model", call.id)
    return Reply(200, doc)
