"""Conditions of queries that SQLAlchemy itself renders slowly."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Connection, Text, any_, func, literal, select

__all__ = ["one_of"]


def one_of(db: Connection, column: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of many values.

    The values are a single parameter. `in_` makes each value a parameter: for a thousand, that takes longer than the
    query.
    """
    given = list(values)
    if db.dialect.name == "sqlite":
        each = func.json_each(msgspec.json.encode(given).decode()).table_valued("value")
        return column.in_(select(each.c.value))
    return column == any_(literal(given, ARRAY(Text)))
