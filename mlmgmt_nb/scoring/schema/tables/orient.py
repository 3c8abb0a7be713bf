"""The JSON forms of a DataFrame in pandas (`orient` of `DataFrame.to_json`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlmgmt_nb.scoring.schema.types import InputError, describe

__all__ = ["ORIENTS", "columns_of_empty", "read_records", "write_example"]

Read = tuple[list[dict[str, Any]], list[Any] | None]
"""Rows as records, and their labels if they have any."""
Records = Sequence[Mapping[str, Any]]


def read_records(value: Any, orient: str, names: Sequence[str], path: str) -> Read:
    """Return the rows of a table.

    Args:
        value: the JSON value.
        orient: one of `ORIENTS`.
        names: the columns of the sample, for tables without names.
        path: the path of the value, for messages.

    Raises:
        InputError: the value has another form.
    """
    return _READERS[orient](value, names, path)


def columns_of_empty(value: Any, orient: str) -> list[str]:
    """Return the columns that a table without rows names, in a form that `read_records` accepts."""
    if orient == "split":
        return list(map(str, value["columns"]))
    return list(value) if orient == "columns" else []


def write_example(records: Records, orient: str, names: Sequence[str]) -> Any:
    """Return sample rows in a form."""
    return _WRITERS[orient](records, names)


def _read_records(value: Any, names: Sequence[str], path: str) -> Read:
    if not isinstance(value, list):
        raise InputError([f"{path}: expected a list of records, one object per row; got {describe(value)}"])
    return [_record(row, f"{path}[{place}]", names) for place, row in enumerate(value)], None


def _read_values(value: Any, names: Sequence[str], path: str) -> Read:
    if not isinstance(value, list):
        raise InputError([f"{path}: expected a list of rows, one list per row; got {describe(value)}"])
    return _named(value, names, path), None


def _read_split(value: Any, _: Sequence[str], path: str) -> Read:
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
        raise InputError([f"{path}: expected an object with columns and data, got {describe(value)}"])
    columns, rows, labels = value["columns"], value["data"], value.get("index")
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise InputError([f"{path}: columns and data must be lists"])
    keys = list(map(str, columns))
    if len(set(keys)) != len(keys):
        raise InputError([f"{path}.columns: {_first_duplicate(keys)} is duplicated"])
    if labels is not None and (not isinstance(labels, list) or len(labels) != len(rows)):
        raise InputError([f"{path}.index: expected a list of {len(rows)} labels, one for each row"])
    return _named(rows, keys, f"{path}.data"), labels


def _first_duplicate(keys: Sequence[str]) -> str:
    return next(key for place, key in enumerate(keys) if key in keys[:place])


def _read_index(value: Any, names: Sequence[str], path: str) -> Read:
    rows = _object(value, path, "an object with a record for each row label")
    return [_record(row, f"{path}.{label}", names) for label, row in rows.items()], _labels(rows)


def _read_columns(value: Any, _: Sequence[str], path: str) -> Read:
    columns = _object(value, path, "an object with an object of values for each column")
    for name, cells in columns.items():
        _object(cells, f"{path}.{name}", "an object with a value for each row label")
    labels = list(dict.fromkeys(label for cells in columns.values() for label in cells))
    rows = [{name: cells[label] for name, cells in columns.items() if label in cells} for label in labels]
    return rows, _labels(labels)


def _read_table(value: Any, names: Sequence[str], path: str) -> Read:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise InputError([f"{path}: expected an object with a list of records as data, got {describe(value)}"])
    rows = [_record(row, f"{path}.data[{place}]", names) for place, row in enumerate(value["data"])]
    schema = value.get("schema")
    keys = schema.get("primaryKey", ["index"]) if isinstance(schema, dict) else ["index"]
    key = keys[0] if isinstance(keys, list) and len(keys) == 1 else None
    if not isinstance(key, str) or key in names or any(key not in row for row in rows):
        return rows, None
    return [{name: cell for name, cell in row.items() if name != key} for row in rows], [row[key] for row in rows]


def _write_split(records: Records, names: Sequence[str]) -> Any:
    return {"columns": list(names), "index": list(range(len(records))), "data": _write_values(records, names)}


def _write_index(records: Records, _: Sequence[str]) -> Any:
    return {str(place): record for place, record in enumerate(records)}


def _write_columns(records: Records, names: Sequence[str]) -> Any:
    return {name: {str(place): record[name] for place, record in enumerate(records)} for name in names}


def _write_values(records: Records, names: Sequence[str]) -> Any:
    return [[record[name] for name in names] for record in records]


def _write_table(records: Records, _: Sequence[str]) -> Any:
    return {"data": [{"index": place, **record} for place, record in enumerate(records)]}


_READERS: dict[str, Callable[[Any, Sequence[str], str], Read]] = {
    "records": _read_records,
    "split": _read_split,
    "index": _read_index,
    "columns": _read_columns,
    "values": _read_values,
    "table": _read_table,
}
_WRITERS: dict[str, Callable[[Records, Sequence[str]], Any]] = {
    "records": lambda records, _: list(records),
    "split": _write_split,
    "index": _write_index,
    "columns": _write_columns,
    "values": _write_values,
    "table": _write_table,
}
ORIENTS = tuple(_READERS)
"""The supported values of `orient`."""


def _object(value: Any, path: str, words: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError([f"{path}: expected {words}, got {describe(value)}"])
    return value


def _record(row: Any, path: str, names: Sequence[str]) -> dict[str, Any]:
    return _object(row, path, f"an object with the columns {', '.join(names)}")


def _named(rows: list[Any], names: Sequence[str], path: str) -> list[dict[str, Any]]:
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise InputError([f"{path}[{place}]: each row must have {len(names)} values, one for each column"])
    return [dict(zip(names, row, strict=True)) for row in rows]


def _labels(labels: Sequence[str] | Mapping[str, Any]) -> list[Any]:
    """Return row labels from the text in JSON; digits become integers."""
    found = list(labels)
    return [int(label) for label in found] if all(label.removeprefix("-").isdecimal() for label in found) else found
