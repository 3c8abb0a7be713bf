"""Operations: rows with the state of an asynchronous request."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select

from mlmgmt_nb.contract import ErrorDetail, ErrorResponse
from mlmgmt_nb.contract.extensions import OperationStatus
from mlmgmt_nb.contract.limits import Count
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.paging import Page, page
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import conflict, invalid
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.transitions import image_ended, rollout_failed

__all__ = ["accepted", "begin", "cancel", "get", "list_"]

_LOGS = {"Image": "images/{id}/buildLog", "Service": "services/{id}/logs"}
_COLLECTIONS = {"Image": "images", "Service": "services"}
_COLUMNS = tuple(
    schema.operations.c[name]
    for name in ("id", "kind", "resource_id", "state", "created_at", "end_time", "warning", "error")
)
"""The columns of an operation in responses, in the order of `_status`."""


def begin(db: Connection, account: str, kind: str, resource_id: str, warning: str | None = None) -> str:
    """Add the operation for work on a resource, in the transaction that requests the work, and return its id."""
    operation_id = str(uuid.uuid4())
    db.execute(
        insert(schema.operations).values(
            id=operation_id,
            account=account,
            kind=kind,
            resource_id=resource_id,
            state="NotStarted",
            attempts=0,
            warning=warning,
            created_at=now(),
        )
    )
    return operation_id


def accepted(call: Call, operation_id: str) -> Reply:
    """Return 202 with the URL of the operation."""
    return Reply(202, headers={"Operation-Location": f"{call.base_url}/operations/{operation_id}"})


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, _status(_row(db, call), call.base_url))


def _row(db: Connection, call: Call) -> Row[Any]:
    days = call.backend.settings.operation_days
    hint = f"Operations are kept for {days:g} days after they end."
    return row_of(db, call, schema.operations, select(*_COLUMNS), hint)


def list_(call: Call) -> Reply:
    """Return the operations of the account, newest first, in pages, with `count` and `$skipToken`."""
    given: dict[str, str] = {name: call.query[name] for name in ("count", "$skipToken") if name in call.query}
    if "count" in given:
        try:
            msgspec.convert(given["count"], Count)
        except msgspec.ValidationError as error:
            raise invalid(error, "count") from None
    table = schema.operations
    query = select(*_COLUMNS, table.c.seq).where(table.c.account == call.account)
    with call.backend.store.reading() as db:
        rows, next_link = page(db, query, table, given, f"{call.base_url}/operations")
    return Reply(200, Page([_status(row[:-1], call.base_url) for row in rows], next_link))


def cancel(call: Call) -> Reply:
    """End a running operation; 409 if it has ended.

    An image is not built; a service keeps serving what it served before. Returns the operation.
    """
    error = ErrorResponse(code="Cancelled", message="The operation was cancelled by a request.")
    with call.backend.store.writing() as db:
        row = _row(db, call)
        if row.kind == "Image":
            cancelled = image_ended(db, row.resource_id, "Cancelled", error)
        else:
            cancelled = row.end_time is None and _roll_back(db, row.resource_id, error)
        if not cancelled and row.state != "Cancelled":
            raise conflict("OperationEnded", f"The operation has already ended: {row.state}.")
        row = _row(db, call)
    if row.kind == "Image":
        call.backend.cancel_build(row.resource_id)
    elif cancelled:
        call.backend.service_log(row.resource_id).line("[mlmgmt] the deployment was cancelled")
        call.backend.services_changed()
    return Reply(200, _status(row, call.base_url))


def _roll_back(db: Connection, service_id: str, error: ErrorResponse) -> bool:
    target_id = db.scalar(select(schema.services.c.target_id).where(schema.services.c.id == service_id))
    return target_id is not None and rollout_failed(db, service_id, target_id, "Cancelled", error)


def _status(columns: Sequence[Any], base_url: str) -> OperationStatus:
    """Return an operation from the values of `_COLUMNS`."""
    id_, kind, resource_id, state, created_at, end_time, warning, error = columns
    return OperationStatus(
        id=id_,
        operation_type=kind,
        state=state,
        created_time=created_at,
        # The system clock may have been set back in the meantime.
        end_time=end_time and max(end_time, created_at),
        resource_location=f"{base_url}/{_COLLECTIONS[kind]}/{resource_id}",
        warning=warning,
        error=error and _with_log(error, f"{base_url}/{_LOGS[kind].format(id=resource_id)}"),
    )


def _with_log(error: ErrorResponse, log_uri: str) -> ErrorResponse:
    """Add the URL of the complete log. Called for each response, since the address of the service may change."""
    return msgspec.structs.replace(error, details=[*(error.details or ()), ErrorDetail(code="Log", message=log_uri)])
