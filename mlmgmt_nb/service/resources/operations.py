"""Operations: rows that say how far an asynchronous request is."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert

from mlmgmt_nb.contract import AsyncOperationStatus, ErrorDetail, ErrorResponse
from mlmgmt_nb.service import schema
from mlmgmt_nb.service.app import Call
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http import Reply
from mlmgmt_nb.service.resources.lookup import row_of

__all__ = ["accepted", "begin", "get"]

_LOGS = {"Image": "images/{id}/buildLog", "Service": "services/{id}/logs"}
_COLLECTIONS = {"Image": "images", "Service": "services"}


def begin(db: Connection, account: str, kind: str, resource_id: str) -> str:
    """Adds the operation that works on a resource, in the transaction that asks for the work, and gives its id."""
    operation_id = str(uuid.uuid4())
    db.execute(
        insert(schema.operations).values(
            id=operation_id,
            account=account,
            kind=kind,
            resource_id=resource_id,
            state="NotStarted",
            attempts=0,
            created_at=now(),
        )
    )
    return operation_id


def accepted(call: Call, operation_id: str) -> Reply:
    """202, pointing at the operation."""
    return Reply(202, headers={"Operation-Location": f"{call.base_url}/operations/{operation_id}"})


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, _status(row_of(db, call, schema.operations), call.base_url))


def _status(row: Row[Any], base_url: str) -> AsyncOperationStatus:
    return AsyncOperationStatus(
        id=row.id,
        operation_type=row.kind,
        state=row.state,
        created_time=row.created_at,
        end_time=row.end_time,
        resource_location=f"{base_url}/{_COLLECTIONS[row.kind]}/{row.resource_id}",
        error=_with_log(row.error, f"{base_url}/{_LOGS[row.kind].format(id=row.resource_id)}"),
    )


def _with_log(error: ErrorResponse | None, log_uri: str) -> ErrorResponse | None:
    """Adds where the whole log is; at each answer, since the address of the service may change."""
    if error is None:
        return None
    return msgspec.structs.replace(error, details=[*(error.details or ()), ErrorDetail(code="Log", message=log_uri)])
