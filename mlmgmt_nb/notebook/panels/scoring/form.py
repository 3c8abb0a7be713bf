"""Form fields for the input of a service: derived from its description, with conversion to and from JSON."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = ["Column", "Field", "Kind", "as_table", "fields_of", "pretty"]

Kind = Literal["integer", "number", "boolean", "date", "text", "any", "table", "json"]
"""The kind of a field. `any` is JSON if it parses, else text; `json` is JSON of one or more lines."""

MOST_ROWS, MOST_CELLS = 100, 2000
"""A table with more rows is edited as JSON."""
_WIDTH = 96


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind


@dataclass
class Field:
    """An argument of `run` in the driver, as typed text.

    Attributes:
        name: the name of the argument.
        kind: the kind of its value.
        is_required: whether a request must have it.
        columns: the columns of a table.
        shape: the JSON form of a table row: an object, a list, or the value of its only column.
        text: the text in the field.
        rows: the texts in the cells of the table.
        is_json: whether it is edited as JSON now: the table is too large, or the value is not a table.
    """

    name: str
    kind: Kind
    is_required: bool = True
    columns: list[Column] = field(default_factory=list)
    shape: Literal["objects", "lists", "values"] = "objects"
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)
    is_json: bool = False

    @property
    def is_table(self) -> bool:
        """Whether it is shown as cells now."""
        return self.kind == "table" and not self.is_json

    def take(self, value: Any) -> None:
        """Put a JSON value into the field."""
        if self.kind != "table":
            self.text = _text(self.kind, value)
            return
        rows = self._rows_of(value)
        self.is_json = rows is None or len(rows) > MOST_ROWS or len(rows) * len(self.columns) > MOST_CELLS
        if self.is_json or rows is None:
            self.text = pretty(value)
        else:
            self.rows = rows

    def _rows_of(self, value: Any) -> list[list[str]] | None:
        if not isinstance(value, list):
            return None
        if self.shape == "objects":
            if not all(isinstance(row, dict) for row in value):
                return None
            known = {column.name for column in self.columns}
            more = dict.fromkeys(name for row in value for name in row if name not in known)
            self.columns += [Column(name, "any") for name in more]
            return [[_text(kind, row.get(name)) for name, kind in self.columns] for row in value]
        if self.shape == "values":
            if any(isinstance(item, (list, dict)) for item in value):
                return None
            return [[_text(self.columns[0].kind, item)] for item in value]
        if not all(isinstance(row, list) for row in value):
            return None
        width = max([len(self.columns), *(len(row) for row in value)])
        kind = self.columns[0].kind if self.columns else "any"
        self.columns = [Column(str(place), kind) for place in range(width)]
        return [[_text(kind, item) for item in row] + [""] * (width - len(row)) for row in value]

    @property
    def is_left_out(self) -> bool:
        """Whether requests omit it."""
        return not self.is_required and not self.is_table and not self.text.strip()

    def value(self) -> tuple[Any, dict[str, str]]:
        """Return its JSON value, and its problems: by `row,column` in a table, else by "".

        The value contains unparsable input as text.
        """
        if not self.is_table:
            kind: Kind = "json" if self.kind == "table" else self.kind
            value, problem = _value(kind, self.text)
            if value is None and not problem and kind in {"integer", "number", "date"} and self.is_required:
                problem = "a value is missing"
            return value, {"": problem} if problem else {}
        problems: dict[str, str] = {}
        rows = []
        for number, row in enumerate(self.rows):
            values = []
            for place, (text, column) in enumerate(zip(row, self.columns, strict=True)):
                value, problem = _value(column.kind, text)
                values.append(value)
                if problem:
                    problems[f"{number},{place}"] = problem
            rows.append(values)
        return self._shaped(rows), problems

    def _shaped(self, rows: list[list[Any]]) -> list[Any]:
        if self.shape == "objects":
            return [dict(zip((name for name, _ in self.columns), row, strict=True)) for row in rows]
        return [row[0] for row in rows] if self.shape == "values" else rows

    def set_cell(self, row: int, column: int, text: str) -> None:
        """Put a text into a cell; ignore a cell that no longer exists."""
        if row < len(self.rows) and column < len(self.columns):
            self.rows[row][column] = text

    def add_row(self) -> None:
        """Add a row like the last one."""
        self.rows.append(list(self.rows[-1]) if self.rows else [""] * len(self.columns))

    def remove_row(self, row: int) -> None:
        """Remove a row."""
        if row < len(self.rows):
            del self.rows[row]

    def paste(self, row: int, column: int, text: str) -> None:
        """Paste spreadsheet data into the cells from the given one on, and add rows as needed."""
        lines = [line.split("\t") for line in text.rstrip("\r\n").splitlines()]
        for down, line in enumerate(lines[: MOST_ROWS - row]):
            if row + down == len(self.rows):
                self.add_row()
            for right, cell in enumerate(line):
                self.set_cell(row + down, column + right, cell.strip())


def fields_of(swagger: Mapping[str, Any]) -> list[Field]:
    """Return the fields in the description of a service; none for a driver that takes any body."""
    given = swagger.get("definitions", {}).get("ServiceInput", {})
    required = given.get("required", ())
    example = given.get("example")
    fields = [_field(name, schema, name in required) for name, schema in (given.get("properties") or {}).items()]
    for one in fields:
        if isinstance(example, dict) and one.name in example:
            one.take(example[one.name])
    return fields


def _field(name: str, schema: Mapping[str, Any], is_required: bool) -> Field:
    kind = _kind(schema)
    if kind != "json":
        return Field(name, kind, is_required)
    items = schema.get("items")
    if schema.get("type") != "array" or not isinstance(items, dict):
        return Field(name, "json", is_required)
    if isinstance(items.get("properties"), dict):
        columns = [Column(title, _cell_kind(of)) for title, of in items["properties"].items()]
        return Field(name, "table", is_required, columns)
    if items.get("type") == "array":
        inner = items.get("items") or {}
        if inner.get("type") in {"array", "object"}:
            return Field(name, "json", is_required)
        return Field(name, "table", is_required, [Column("0", _cell_kind(inner))], shape="lists")
    if items.get("type") == "object":
        return Field(name, "json", is_required)
    return Field(name, "table", is_required, [Column("value", _cell_kind(items))], shape="values")


def _kind(schema: Mapping[str, Any]) -> Kind:
    kinds: dict[Any, Kind] = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}
    if schema.get("type") == "string" and schema.get("format") in {"date", "date-time"}:
        return "date"
    return kinds.get(schema.get("type"), "json")


def _cell_kind(schema: Mapping[str, Any]) -> Kind:
    kind = _kind(schema)
    return "any" if kind == "json" else kind


def _text(kind: Kind, value: Any) -> str:
    """Return the text of a JSON value in a field."""
    if kind == "json":
        return pretty(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if kind == "any" and _value("any", value)[0] != value:
        return json.dumps(value, ensure_ascii=False)  # text that would parse as a number, for example
    return value


def _value(kind: Kind, text: str) -> tuple[Any, str]:
    """Parse the text of a field. Return its value, and its problem or ""."""
    bare = text.strip()
    if kind == "text":
        return text, ""
    if not bare:
        return None, "" if kind != "json" else "a value is missing"
    if kind == "integer":
        return _read(bare, int, "not a whole number")
    if kind == "number":
        return _read(bare, _number, "not a number")
    if kind == "boolean":
        known = {"true": True, "false": False}
        return (known[bare.lower()], "") if bare.lower() in known else (text, "neither true nor false")
    if kind == "date":
        _, problem = _read(bare, dt.datetime.fromisoformat, "not a date such as 2017-01-31T12:00:00")
        return bare, problem
    try:
        return json.loads(text), ""
    except ValueError as error:
        return text, "" if kind == "any" else f"not JSON: {error}"


def _read(text: str, read: Any, problem: str) -> tuple[Any, str]:
    try:
        return read(text), ""
    except ValueError:
        return text, problem


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def pretty(value: Any, indent: str = "") -> str:
    """Format JSON for reading: values that fit on a line stay on it."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= _WIDTH or not isinstance(value, (dict, list)) or not value:
        return flat
    inner = indent + "  "
    if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        return flat
    parts = (
        [f"{json.dumps(name, ensure_ascii=False)}: {pretty(item, inner)}" for name, item in value.items()]
        if isinstance(value, dict)
        else [pretty(item, inner) for item in value]
    )
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}{closing}"


def as_table(value: Any) -> tuple[Sequence[str], list[list[str]]] | None:
    """Return an answer as columns and rows if it is a table: records, lists, or values of the same kind."""
    if isinstance(value, dict) and value and not any(isinstance(item, (dict, list)) for item in value.values()):
        value = [value]
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(row, dict) for row in value):
        names = list(dict.fromkeys(name for row in value for name in row))
        return names, [[_shown(row.get(name)) for name in names] for row in value]
    if all(isinstance(row, list) for row in value):
        width = max(len(row) for row in value)
        return [str(place) for place in range(width)], [
            [_shown(item) for item in row] + [""] * (width - len(row)) for row in value
        ]
    if not any(isinstance(item, (dict, list)) for item in value):
        return ["answer"], [[_shown(item)] for item in value]
    return None


def _shown(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
