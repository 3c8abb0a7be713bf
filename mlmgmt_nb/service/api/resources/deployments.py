"""Deployments: the images that each service ran, from when to when. They outlive their service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, exists, select

from mlmgmt_nb.contract.extensions import ChangeRecord, DeploymentRecord
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import in_account, row_of
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["DEPLOYMENT_COLUMNS", "deployment_of", "get", "list_"]

DEPLOYMENT_COLUMNS = tuple(
    schema.deployments.c[name]
    for name in ("id", "service_name", "image_id", "status", "created_at", "expired_at", "change")
)
"""The columns of responses, in the order of `deployment_of`; the columns that are left out are the largest."""
_ROWS_AT_ONCE = 1000


def list_(call: Call) -> Reply:
    """Return all deployments: the contract does not divide them into pages. A long list is streamed.

    Its rows are read in blocks by `seq`: deployments added meanwhile have higher numbers and do not appear.
    """
    table = schema.deployments
    service_id = call.query.get("serviceId")
    query = _selected().where(in_account(table, call.account, is_filtered=service_id is not None), ~_of_candidate())
    query = query.order_by(table.c.seq.desc()).limit(_ROWS_AT_ONCE)
    if service_id is not None:
        query = query.where(table.c.service_id == service_id)
    blocks = _blocks(call.backend.store, query)
    first = next(blocks)
    if len(first) < _ROWS_AT_ONCE:
        return Reply(200, first)
    return Reply(200, _encoded(first, blocks))


def _selected() -> Select[Any]:
    """Select the columns of responses."""
    return select(*DEPLOYMENT_COLUMNS, schema.deployments.c.seq)


def _of_candidate() -> ColumnElement[bool]:
    """Return the condition that a deployment belongs to a candidate, which has not served."""
    services = schema.services
    same = services.c.id == schema.deployments.c.service_id
    return exists().where(same, services.c.candidate_of.is_not(None))


def _blocks(store: Store, query: Select[Any]) -> Iterator[list[DeploymentRecord]]:
    """Yield the deployments of a query that descends by `seq`, and end with an incomplete block."""
    further = query
    while True:
        with store.reading() as db:
            rows = db.execute(further).all()
        yield [deployment_of(row[:-1]) for row in rows]
        if len(rows) < _ROWS_AT_ONCE:
            return
        further = query.where(schema.deployments.c.seq < rows[-1].seq)


def _encoded(first: list[DeploymentRecord], others: Iterable[list[DeploymentRecord]]) -> Iterator[bytes]:
    """Yield blocks of deployments as one JSON array."""
    yield msgspec.json.encode(first)[:-1]
    for block in others:
        if block:
            yield b"," + msgspec.json.encode(block)[1:-1]
    yield b"]"


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, deployment_of(row_of(db, call, schema.deployments, _selected())[:-1]))


def deployment_of(columns: Sequence[Any]) -> DeploymentRecord:
    """Return a deployment from the values of `DEPLOYMENT_COLUMNS`, with the record of its change."""
    id_, service_name, image_id, status, created_at, expired_at, change = columns
    record: ChangeRecord | None = change
    return DeploymentRecord(
        id=id_,
        service_name=service_name,
        image_id=image_id,
        status=status,
        created_at=created_at,
        expired_at=expired_at,
        **({} if record is None else msgspec.structs.asdict(record)),
    )
