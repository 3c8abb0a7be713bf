"""Lists of resources as rows of text: important columns for people, all columns for programs.

Programs get the columns of `Pager.to_frame` in the same order, but with API names: first `id`, `name`, `version` and
`state`, then the others in the order of the contract. A nested resource is its id, and an error its message.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.client.http.frames import flat, flat_names
from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.contract import AsyncOperationStatus, Image, Manifest, Model, ServiceResponse
from mlmgmt_nb.contract.extensions import DeploymentRecord, DetailedImage

__all__ = ["COLUMNS", "age", "cut", "narrow_rows", "programs_rows", "wide_rows"]

COLUMNS: Mapping[type, Sequence[str]] = {
    Model: ("name", "version", "archived", "tags", "description", "age", "id"),
    Manifest: ("name", "version", "archived", "driverProgram", "description", "age", "id"),
    Image: ("name", "version", "archived", "creationState", "error", "age", "id"),
    ServiceResponse: ("name", "state", "lastOperation", "scoringUri", "numReplicas", "image", "age"),
    DeploymentRecord: ("serviceName", "status", "imageId", "change", "reason", "age", "id"),
    AsyncOperationStatus: ("operationType", "state", "error", "age", "duration", "id"),
}
"""Columns of a table, by API name. `age` is the time since creation, and `duration` the time that an operation took.
For a service, `state` is its condition, and `lastOperation` the state of its last operation if that differs.
"""
_TEXTS = frozenset({"tags", "description", "error", "reason"})
_LONGEST = 80
_CREATED = ("createdAt", "createdTime")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def narrow_rows(items: Sequence[msgspec.Struct], now: dt.datetime | None = None) -> list[dict[str, Any]]:
    """Return rows with the columns of `COLUMNS` that have a value, or all columns for other types. Cut long texts.

    Args:
        items: resources of one type.
        now: reference time for ages (default: the current time).
    """
    columns = _columns(items)
    rows = [{name: cut(name, row.get(name)) for name in columns or row} for row in _rows(items, now)]
    return _without_empty(rows)


def wide_rows(items: Sequence[msgspec.Struct], now: dt.datetime | None = None) -> list[dict[str, Any]]:
    """Return rows with the columns of `narrow_rows`, then all others that have a value. Texts are not cut."""
    columns = _columns(items)
    return _without_empty([{name: row.get(name) for name in (*columns, *row)} for row in _rows(items, now)])


def programs_rows(type_: type[msgspec.Struct], items: Sequence[msgspec.Struct]) -> tuple[list[str], list[list[Any]]]:
    """Return the names and rows of all columns of a type, including columns without values."""
    return flat_names(type_), [list(flat(item).values()) for item in items]


def cut(name: str, value: Any) -> Any:
    """Return a value of a column. Long texts such as descriptions are shortened; names, ids and URLs are not."""
    if name not in _TEXTS or value is None:
        return value
    text = value if isinstance(value, str) else ", ".join(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def age(since: str, until: dt.datetime) -> str:
    """Return the elapsed time in its largest unit: `45s`, `12m`, `3h` or `5d`.

    Example:
        >>> age("2026-01-01T00:00:00Z", dt.datetime(2026, 1, 1, 3, 59, tzinfo=dt.UTC))
        '3h'
    """
    seconds = max(0.0, (until - dt.datetime.fromisoformat(since)).total_seconds())
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{int(seconds // size)}{unit}"


def _columns(items: Sequence[msgspec.Struct]) -> Sequence[str]:
    return next((COLUMNS[base] for base in type(items[0]).__mro__ if base in COLUMNS), ()) if items else ()


def _rows(items: Sequence[msgspec.Struct], now: dt.datetime | None) -> list[dict[str, Any]]:
    now = now or dt.datetime.now(dt.UTC)
    return [_for_people(item, now) for item in items]


def _for_people(item: msgspec.Struct, now: dt.datetime) -> dict[str, Any]:
    """Return a row with all columns that a table can show."""
    row = flat(item)
    created = next((row[name] for name in _CREATED if row.get(name)), None)
    row["age"] = age(created, now) if created else None
    if "archived" in row:
        no = None if isinstance(item, DetailedImage) else "no"  # a single image, not a row of a list
        row["archived"] = "yes" if row["archived"] else no
    if isinstance(item, AsyncOperationStatus) and item.created_time and item.end_time:
        row["duration"] = f"{(item.end_time - item.created_time).total_seconds():.1f}s"
    if isinstance(item, ServiceResponse):
        # A service keeps serving after a failed update, so its condition and its last operation are two columns.
        row["state"] = condition(item)
        row["lastOperation"] = None if row["state"] == item.state else item.state
        row["image"] = f"{item.image.name} version {item.image.version}" if item.image else None
        last_change = getattr(item, "last_change", None)
        row["lastChange"] = last_change and last_change.summary
        recording = getattr(item, "recording", None)
        row["recording"] = recording and str(recording)
        candidate = getattr(item, "candidate", None)
        row["candidate"] = candidate and candidate.summary
    return row


def _without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    filled = {name for row in rows for name, value in row.items() if value not in (None, "", [], {})}
    return [{name: value for name, value in row.items() if name in filled} for row in rows]
