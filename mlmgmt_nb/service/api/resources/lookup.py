"""Shared by all resources: find, list and number rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, bindparam, func, select

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.paging import Page, page
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import Problem, conflict, not_found

__all__ = ["document", "documents", "image_not_ready", "in_account", "is_listed", "next_version", "row_of"]


def row_of(db: Connection, call: Call, table: Table, query: Select[Any] | None = None, hint: str = "") -> Row[Any]:
    """Return the row that the path of a request names.

    Args:
        query: selects the row with related columns; None selects the row of the table alone.
        hint: text to append to the error if the row does not exist.

    Raises:
        Problem: 404.
    """
    query = select(table) if query is None else query
    row = db.execute(query.where(table.c.account == call.account, table.c.id == call.id)).one_or_none()
    if row is None:
        raise not_found(table.name.removesuffix("s"), call.id, hint=hint)
    return row


def image_not_ready(state: str, path: str | None = None) -> Problem:
    """Return a 409 for an image that is not built.

    Args:
        state: state of its build.
        path: JSON path of the field that named the image, if any.
    """
    is_open = state in {"NotStarted", "Running"}
    fix = "wait until it ends" if is_open else "read its build log and create a new image"
    subject = f"{path}: the" if path else "The"
    return conflict("ImageNotReady", f"{subject} build of this image is in state {state}, not Succeeded; {fix}.")


def in_account(table: Table, account: str, *, is_filtered: bool) -> ColumnElement[bool]:
    """Return the condition that a row is in an account.

    Args:
        is_filtered: whether another condition selects few rows by its own index. Query planners would scan all rows of
            the account, because these are in page order; an expression instead of the column prevents that.
    """
    column: ColumnElement[str] = table.c.account
    return (column.concat("") if is_filtered else column) == account


def is_listed(table: Table, call: Call) -> ColumnElement[bool]:
    """Return the condition that a request lists a version: not withdrawn, and archived or not as requested."""
    conditions = [table.c.withdrawn_at.is_(None)]
    if (archived := call.query.get("archived")) is not None:
        conditions.append(table.c.archived_at.is_not(None) if archived == "true" else table.c.archived_at.is_(None))
    return and_(*conditions)


def document(call: Call, table: Table) -> Reply:
    """Return an immutable resource as it was stored."""
    with call.backend.store.reading() as db:
        return Reply(200, _document(row_of(db, call, table)))


def _document(row: Row[Any]) -> bytes:
    """Return the stored JSON of a version, with the property `archived` if it is."""
    doc: bytes = row.doc
    return doc if row.archived_at is None else doc[:-1] + b',"archived":true}'


def documents(
    call: Call,
    table: Table,
    query: Select[Any],
    order: ColumnElement[int] | None = None,
    *,
    is_filtered: bool = False,
) -> Reply:
    """Return a page of immutable resources. `query` applies the filters to `table`; its columns are ignored.

    Args:
        order: see `page`.
        is_filtered: see `in_account`.
    """
    columns = query.with_only_columns(table.c.seq, table.c.doc, table.c.archived_at)
    columns = columns.where(in_account(table, call.account, is_filtered=is_filtered), is_listed(table, call))
    with call.backend.store.reading() as db:
        rows, next_link = page(db, columns, table, call.query, f"{call.base_url}/{table.name}", order)
    return Reply(200, Page([msgspec.Raw(_document(row)) for row in rows], next_link))


def next_version(db: Connection, table: Table, account: str, name: str) -> int:
    """Return the version for the next row of a name. Call this in the transaction that adds the row."""
    return (db.scalar(_last_version(table), {"account": account, "name": name}) or 0) + 1


@cache
def _last_version(table: Table) -> Select[Any]:
    # Built once: building a statement takes longer than running it.
    same_name = (table.c.account == bindparam("account"), table.c.name == bindparam("name"))
    return select(func.max(table.c.version)).where(*same_name)
