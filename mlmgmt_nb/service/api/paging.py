"""Pages of lists: opaque tokens that remain correct while rows are added."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table

from mlmgmt_nb.service.http.problems import bad_field

__all__ = ["DEFAULT_COUNT", "MAX_COUNT", "Page", "page", "page_size"]

DEFAULT_COUNT = 100
MAX_COUNT = 1000


class Page(msgspec.Struct, rename="camel"):
    """A page as sent. Its items are contract types or their JSON."""

    value: list[Any]
    next_link: str | msgspec.UnsetType = msgspec.UNSET


def page(
    db: Connection,
    query: Select[Any],
    table: Table,
    parameters: Mapping[str, str],
    url: str,
    order: ColumnElement[int] | None = None,
) -> tuple[Sequence[Row[Any]], str | msgspec.UnsetType]:
    """Return one page of a query, newest first, and the link to the next page.

    Args:
        query: selects `table.c.seq` among other columns, with the filters applied.
        parameters: parameters of the request; `count` and `$skipToken` select the page, the others are the filters.
        url: absolute URL of the list, without a query.
        order: column with the values of `table.c.seq` to sort by instead. The index of a filter has such a column: in
            its order, rows outside the filter are not visited.

    Raises:
        Problem: 400, when the token was not issued for this list and these filters.
    """
    filters = {name: value for name, value in parameters.items() if name not in {"count", "$skipToken"}}
    scope = url.partition("/api/")[2] + urlencode(sorted(filters.items()))
    order = table.c.seq if order is None else order
    if token := parameters.get("$skipToken"):
        query = query.where(order < _decode(token, scope))
    size = page_size(parameters.get("count"))
    rows = db.execute(query.order_by(order.desc()).limit(size + 1)).all()
    if len(rows) <= size:
        return rows, msgspec.UNSET
    onward = {**parameters, "$skipToken": _encode(rows[size - 1].seq, scope)}
    return rows[:size], f"{url}?{urlencode(onward)}"


def page_size(count: str | None) -> int:
    # Check the digits before converting: int() raises on thousands of them.
    if count is None:
        return DEFAULT_COUNT
    return MAX_COUNT if len(count) > len(str(MAX_COUNT)) else min(int(count), MAX_COUNT)


def _encode(seq: int, scope: str) -> str:
    return base64.urlsafe_b64encode(seq.to_bytes(8, "big") + _mark(seq, scope)).decode()


def _decode(token: str, scope: str) -> int:
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    seq = int.from_bytes(raw[:8], "big")
    if len(raw) != 16 or raw[8:] != _mark(seq, scope):
        raise bad_field("$skipToken", "is not a token of this list with these filters; use the one in nextLink.")
    return seq


def _mark(seq: int, scope: str) -> bytes:
    """Bind a token to its list, so that tokens of other lists are refused instead of returning wrong pages."""
    return hashlib.blake2b(f"{seq} {scope}".encode(errors="surrogateescape"), digest_size=8).digest()
