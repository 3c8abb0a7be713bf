"""Form fields for the input of a service: derived from its description, with conversion to and from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mlmgmt_nb.commands.usage import pretty
from mlmgmt_nb.notebook.panels.scoring.kinds import (
    ANY,
    NOT_GIVEN,
    GivenText,
    Kind,
    Rule,
    has_zone,
    is_empty_missing,
    kind_of,
    rule_of,
    value_of,
)

__all__ = ["Column", "Field", "as_table", "fields_of"]

MOST_ROWS, MOST_CELLS = 100, 2000
"""A table with more rows or cells is edited as JSON."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind
    rule: Rule = ANY


@dataclass
class Field:
    """An argument of `run` in the driver, as text: typed, or of a value that the form was given.

    Attributes:
        name: the name of the argument.
        kind: the kind of its value.
        rule: the restrictions on its value.
        is_required: whether a request must have it.
        columns: the columns of a table.
        shape: the JSON form of a table row: an object, a list, or the value of its only column.
        text: the text in the field; a `GivenText` until it is edited.
        rows: the texts in the cells of the table, likewise.
        is_json: whether it is edited as JSON, because the table is too large or the value is not a table.
        is_given: whether the form was given a value for it, such as that of the example.
    """

    name: str
    kind: Kind
    is_required: bool = True
    rule: Rule = ANY
    columns: list[Column] = field(default_factory=list)
    shape: Literal["objects", "lists", "values"] = "objects"
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)
    is_json: bool = False
    is_given: bool = False

    @property
    def is_table(self) -> bool:
        """Whether it is currently shown as cells."""
        return self.kind == "table" and not self.is_json

    def take(self, value: Any) -> None:
        """Put a JSON value into the field."""
        self.is_given = True
        if self.kind != "table":
            self.text = GivenText(self.kind, value)
            return
        is_table = self._is_in_shape(value)
        if is_table:
            self._extend_columns(value)
        self.is_json = not is_table or len(value) > MOST_ROWS or len(value) * len(self.columns) > MOST_CELLS
        if self.is_json:
            self.text = pretty(value)
        else:
            self.rows = self._texts(value)

    def take_example(self, value: Any) -> None:
        """Put the value of the example into the field. It has no problems."""
        self.take(value)
        for text in (self.text, *(text for row in self.rows for text in row)):
            if isinstance(text, GivenText):
                text.is_example = True
        for place, column in enumerate(self.columns):
            values = [getattr(row[place], "value", None) for row in self.rows]
            if column.kind == "text" and any(isinstance(value, (int, float)) for value in values):
                self.columns[place] = column._replace(kind="any")  # a time span, which is text or a number
            elif column.kind == "datetime" and any(map(has_zone, values)):
                self.columns[place] = column._replace(rule=column.rule._replace(has_zone=True))

    def clear(self) -> None:
        """Remove the value."""
        self.text, self.rows, self.is_given = "", [], False

    def _is_in_shape(self, value: Any) -> bool:
        """Return whether a value is a list of rows in the shape of the table."""
        if not isinstance(value, list):
            return False
        if self.shape == "values":
            return not _has_nested(value)
        return _are_all(dict if self.shape == "objects" else list, value)

    def _extend_columns(self, rows: list[Any]) -> None:
        """Add the columns that rows have in addition to those of the description."""
        if self.shape == "objects":
            known = {column.name for column in self.columns}
            self.columns += [Column(name, "any") for name in _names(rows) if name not in known]
        elif self.shape == "lists":
            width = max([len(self.columns), *map(len, rows)])
            kind, rule = self.columns[0][1:] if self.columns else ("any", ANY)
            self.columns = [Column(str(place), kind, rule) for place in range(width)]

    def _texts(self, rows: list[Any]) -> list[list[str]]:
        """Return the texts in the cells of rows."""
        if self.shape == "objects":
            return [[GivenText(kind, row.get(name, NOT_GIVEN)) for name, kind, _ in self.columns] for row in rows]
        kind: Kind = self.columns[0].kind if self.columns else "any"
        if self.shape == "values":
            return [[GivenText(kind, item)] for item in rows]
        width = len(self.columns)
        return [[GivenText(kind, item) for item in [*row, *[NOT_GIVEN] * (width - len(row))]] for row in rows]

    @property
    def is_left_out(self) -> bool:
        """Whether requests omit it."""
        if self.is_required:
            return False
        if self.is_table:
            return not self.rows and not self.is_given
        return not self.text.strip() and not isinstance(self.text, GivenText)

    def value(self) -> tuple[Any, dict[str, str]]:
        """Return the JSON value and the problems, by `row,column` in a table and by "" otherwise.

        The value contains unparsable input as text.
        """
        if self.is_left_out:
            return None, {}
        if not self.is_table:
            kind: Kind = "json" if self.kind == "table" else self.kind
            value, problem = value_of(kind, self.text, self.rule)
            is_missing = value is None and not isinstance(self.text, GivenText)
            if is_missing and not problem and is_empty_missing(kind):
                problem = "a value is missing"
            return value, {"": problem} if problem else {}
        rows, problems = self._parsed_cells()
        return self._shaped(rows), problems

    def _parsed_cells(self) -> tuple[list[list[Any]], dict[str, str]]:
        """Return the values in the cells of the table, and the problems by `row,column`."""
        problems: dict[str, str] = {}
        rows = []
        for number, row in enumerate(self.rows):
            values = []
            for place, (text, column) in enumerate(zip(row, self.columns, strict=True)):
                value, problem = value_of(column.kind, text, column.rule)
                values.append(value)
                if problem:
                    problems[f"{number},{place}"] = problem
            rows.append(values)
        return rows, problems

    def _shaped(self, rows: list[list[Any]]) -> list[Any]:
        if self.shape == "objects":
            return [
                {name: value for (name, *_), value in zip(self.columns, row, strict=True) if value is not NOT_GIVEN}
                for row in rows
            ]
        return [row[0] for row in rows] if self.shape == "values" else list(map(_without_end, rows))

    def set_cell(self, row: int, column: int, text: str) -> None:
        """Put a text into a cell; ignore a cell that no longer exists."""
        if row < len(self.rows) and column < len(self.columns):
            self.rows[row][column] = text

    def add_row(self) -> None:
        """Add a copy of the last row."""
        self.rows.append(list(self.rows[-1]) if self.rows else [""] * len(self.columns))

    def remove_row(self, row: int) -> None:
        """Remove a row."""
        if row < len(self.rows):
            del self.rows[row]

    def paste(self, row: int, column: int, text: str) -> None:
        """Paste spreadsheet data, starting at a cell, and add rows as needed."""
        lines = [line.split("\t") for line in text.rstrip("\r\n").splitlines()]
        for down, line in enumerate(lines[: MOST_ROWS - row]):
            if row + down == len(self.rows):
                self.add_row()
            for right, cell in enumerate(line):
                self.set_cell(row + down, column + right, cell.strip())


def fields_of(swagger: Mapping[str, Any]) -> list[Field]:
    """Return the fields in the description of a service; an empty list for a driver that accepts any body."""
    given = swagger.get("definitions", {}).get("ServiceInput", {})
    required = given.get("required", ())
    example = given.get("example")
    fields = [_field(name, schema, name in required) for name, schema in (given.get("properties") or {}).items()]
    for one in fields:
        if isinstance(example, dict) and one.name in example:
            one.take_example(example[one.name])
    return fields


def _without_end(row: list[Any]) -> list[Any]:
    """Return a row without the cells at its end that were not given."""
    end = max((place + 1 for place, value in enumerate(row) if value is not NOT_GIVEN), default=0)
    return [None if value is NOT_GIVEN else value for value in row[:end]]


def _field(name: str, schema: Mapping[str, Any], is_required: bool) -> Field:
    kind = kind_of(schema)
    if kind != "json":
        return Field(name, kind, is_required, rule_of(schema))
    items = schema.get("items")
    if schema.get("type") != "array" or not isinstance(items, dict):
        return Field(name, "json", is_required)
    if isinstance(items.get("properties"), dict):
        columns = [_column(title, of) for title, of in items["properties"].items()]
        return Field(name, "table", is_required, columns=columns)
    if items.get("type") == "array":
        inner = items.get("items") or {}
        if inner.get("type") in {"array", "object"}:
            return Field(name, "json", is_required)
        return Field(name, "table", is_required, columns=[_column("0", inner)], shape="lists")
    if items.get("type") == "object":
        return Field(name, "json", is_required)
    return Field(name, "table", is_required, columns=[_column("value", items)], shape="values")


def _column(name: str, schema: Mapping[str, Any]) -> Column:
    kind = kind_of(schema)
    return Column(name, "any" if kind == "json" else kind, rule_of(schema))


def as_table(value: Any) -> tuple[Sequence[str], list[list[str]]] | None:
    """Return an answer as columns and rows if it is a record or a list of records, lists or scalars, else None."""
    rows = [value] if _is_record(value) else value
    if not isinstance(rows, list) or not rows:
        return None
    if _are_all(dict, rows):
        return _table_of_records(rows)
    if _are_all(list, rows):
        return _table_of_lists(rows)
    return None if _has_nested(rows) else (["answer"], [[_shown(item)] for item in rows])


def _table_of_records(rows: list[dict[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    names = _names(rows)
    return names, [[_shown(row.get(name)) for name in names] for row in rows]


def _table_of_lists(rows: list[list[Any]]) -> tuple[Sequence[str], list[list[str]]]:
    width = max(map(len, rows))
    return [str(place) for place in range(width)], [
        [_shown(item) for item in row] + [""] * (width - len(row)) for row in rows
    ]


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and not _has_nested(value.values())


def _has_nested(values: Iterable[Any]) -> bool:
    return any(isinstance(value, (dict, list)) for value in values)


def _are_all(kind: type, rows: Sequence[Any]) -> bool:
    return all(isinstance(row, kind) for row in rows)


def _names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all values in the records, in the order of their first occurrence."""
    return list(dict.fromkeys(name for record in records for name in record))


def _shown(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
