"""Deployments: the images that each service ran, from when to when. They outlive their service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Row, Select, select

from mlmgmt_nb.contract import Deployment
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import in_account, row_of
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["get", "list_"]


_ROWS_AT_ONCE = 1000


def list_(call: Call) -> Reply:
    """Return all deployments: the contract does not divide them into pages. A long list is streamed.

    Its rows are read in blocks by `seq`: deployments that are added meanwhile have higher ones, and do not appear.
    """
    table = schema.deployments
    service_id = call.query.get("serviceId")
    query = _selected().where(in_account(table, call.account, is_filtered=service_id is not None))
    query = query.order_by(table.c.seq.desc()).limit(_ROWS_AT_ONCE)
    if service_id is not None:
        query = query.where(table.c.service_id == service_id)
    blocks = _blocks(call.backend.store, query)
    first = next(blocks)
    if len(first) < _ROWS_AT_ONCE:
        return Reply(200, first)
    return Reply(200, _encoded(first, blocks))


def _selected() -> Select[Any]:
    """Select the columns of responses: the others are the largest."""
    columns = schema.deployments.c
    shown = (columns.id, columns.service_name, columns.image_id, columns.status, columns.created_at, columns.expired_at)
    return select(columns.seq, *shown)


def _blocks(store: Store, query: Select[Any]) -> Iterator[list[Deployment]]:
    """Yield the deployments of a query that descends by `seq`, and end with an incomplete block."""
    further = query
    while True:
        with store.reading() as db:
            rows = db.execute(further).all()
        yield [_deployment(row) for row in rows]
        if len(rows) < _ROWS_AT_ONCE:
            return
        further = query.where(schema.deployments.c.seq < rows[-1].seq)


def _encoded(first: list[Deployment], others: Iterable[list[Deployment]]) -> Iterator[bytes]:
    """Yield blocks of deployments as one JSON array."""
    yield msgspec.json.encode(first)[:-1]
    for block in others:
        if block:
            yield b"," + msgspec.json.encode(block)[1:-1]
    yield b"]"


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, _deployment(row_of(db, call, schema.deployments, _selected())))


def _deployment(row: Row[Any]) -> Deployment:
    return Deployment(
        id=row.id,
        service_name=row.service_name,
        image_id=row.image_id,
        status=row.status,
        created_at=row.created_at,
        expired_at=row.expired_at,
    )
