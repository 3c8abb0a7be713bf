"""Values as text: tables for people; JSON, TSV and CSV for programs; and JMESPath queries on them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.client import Pager, ScoringReport
from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.client.deploying.packaged_models import DeployedService
from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.commands.values import Keys, Settings, Usage
from mlmgmt_nb.commands.verbs.drivers import CheckedDriver
from mlmgmt_nb.contract import AsyncOperationStatus, Deployment, Image, Manifest, Model, ServiceResponse
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.terminal import encodable, json_printable, one_line, printable

__all__ = ["deployed", "formatted", "plain", "queried"]

COLUMNS: Mapping[type, Sequence[str]] = {
    Model: ("id", "name", "version", "createdAt", "tags", "description"),
    Manifest: ("id", "name", "version", "createdTime", "driverProgram", "description"),
    Image: ("id", "name", "version", "creationState", "createdTime"),
    ServiceResponse: ("name", "state", "lastOperation", "numReplicas", "image", "scoringUri", "updatedAt", "id"),
    Deployment: ("id", "serviceName", "status", "imageId", "createdAt", "expiredAt"),
    AsyncOperationStatus: ("id", "operationType", "state", "createdTime", "endTime"),
}
"""What a table of resources shows, by their names in the API; and for services what `_for_people` has."""
_MAY_BE_ABSENT = frozenset({"lastOperation"})

_WIDEST = 80
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, in its wide forms too."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def plain(value: Any) -> Any:
    """Return a value as JSON types, with the names of the API. Keys stay masked unless shown."""
    if isinstance(value, Pager):
        return [msgspec.to_builtins(item) for item in value]
    if isinstance(value, Keys):
        return value.visible()
    if isinstance(value, ScoringReport):
        return dict(value.summary)
    if isinstance(value, Difference):
        return value.to_dict()
    if hasattr(value, "iloc"):  # a DataFrame; as JSON has it, so times are text and what is missing is null
        return json.loads(value.to_json(orient="records", date_format="iso"))
    if isinstance(value, Settings):
        return [dict(row) for row in value.rows]
    if isinstance(value, Usage):
        return {
            "scoringUri": value.scoring_uri,
            "swaggerUri": value.swagger_uri,
            "headers": value.headers,
            "sample": value.sample,
        }
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    return str(value) if isinstance(value, str) else value


def queried(value: Any, query: str) -> Any:
    """Return the result of a JMESPath query on a value.

    Raises:
        UsageError: the query is not valid.
    """
    import jmespath  # only who asks needs it
    import jmespath.exceptions

    try:
        return jmespath.search(query, plain(value))
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(f"--query: {error}", field="query", fix="See jmespath.org for the language.") from error


def formatted(value: Any, output: str, query: str | None = None, encoding: str | None = None) -> str:
    """Return a value as the text that a shell prints, without a trailing newline. No terminal obeys anything in it, and
    no cell of TSV or CSV is run by a spreadsheet.

    Args:
        value: the result of a command or query.
        output: `table`, `json`, `tsv` or `csv`.
        query: a JMESPath query to ask first.
        encoding: that of the terminal or file, if it may lack characters: JSON is written without those.
    """
    columns: Sequence[str] = ()
    if query:
        value = queried(value, query)
    elif isinstance(value, (Usage, CheckedDriver, ScoringReport, Difference)) and output == "table":
        return printable(str(value))
    elif isinstance(value, DeployedService) and output == "table":
        return printable(deployed(value, "mlmgmt"))
    elif isinstance(value, Pager):
        items = list(value)
        columns = next((COLUMNS[base] for base in type(items[0]).__mro__ if base in COLUMNS), ()) if items else ()
        value = [_table_row(item) if output == "table" else msgspec.to_builtins(item) for item in items]
    is_record = isinstance(value, (msgspec.Struct, Keys))
    value = _table_row(value) if output == "table" and isinstance(value, ServiceResponse) else plain(value)
    if output == "json":
        return _json(value, encoding)
    if output == "csv":
        return _csv(value)
    return _tsv(value) if output == "tsv" else _table(value, columns, is_record=is_record)


def deployed(service: DeployedService, prog: str) -> str:
    """Return the three lines of a service that was proven; `prog` is how its user calls commands."""
    (name, proof), (url, uri), (hint, command) = service.lines
    return "\n".join([f"{name} {proof}", f"{url}     {uri}", f"{hint}  {prog} {command}"])


def _table_row(item: msgspec.Struct) -> dict[str, Any]:
    """Return a resource as a table row. The state of a service and of its last operation are separate columns."""
    row: dict[str, Any] = msgspec.to_builtins(item)
    if not isinstance(item, ServiceResponse):
        return row
    now = condition(item)
    apart = {"state": now, "lastOperation": None if now == item.state else item.state}
    image = f"{item.image.name} version {item.image.version}" if item.image else None
    return {name: apart.get(name, value) for name, value in row.items()} | apart | {"image": image}


def _json(value: Any, encoding: str | None = None) -> str:
    text = json_printable(json.dumps(value, indent=2, ensure_ascii=False))
    return text if encodable(text, encoding) == text else json.dumps(value, indent=2)


def _table(value: Any, columns: Sequence[str], *, is_record: bool) -> str:
    if isinstance(value, str):
        return printable(value.rstrip("\n"))
    if isinstance(value, dict) and is_record:
        known = {name: printable(_cell(_summary(item))) for name, item in value.items() if item is not None}
        width = max(map(len, known), default=0)
        # Further lines of a value must not look like other values.
        known = {name: text.replace("\n", "\n" + " " * (width + 2)) for name, text in known.items()}
        return "\n".join(f"{name:<{width}}  {text}" for name, text in known.items())
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        has = {name for row in value for name, cell in row.items() if cell}
        names = [name for name in columns or _names(value) if name not in _MAY_BE_ABSENT or name in has]
        rows = [[_short(one_line(_cell(row.get(name)))) for name in names] for row in value]
        names = [one_line(name) for name in names]
        widths = [max(len(name), *(len(row[i]) for row in rows)) for i, name in enumerate(names)]
        lines = [names, ["-" * width for width in widths], *rows]
        return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "" if value == [] else _json(value)


def _summary(value: Any) -> Any:
    """Return a resource inside of another one by its id, an error by its message; anything else as it is."""
    if isinstance(value, dict):
        return value.get("id") or value.get("message") or value
    return [_summary(item) for item in value] if isinstance(value, list) else value


def _tsv(value: Any) -> str:
    rows = value if isinstance(value, list) else [value]
    return "\n".join("\t".join(one_line(_escaped(_harmless(_cell(cell)))) for cell in _cells(row)) for row in rows)


def _csv(value: Any) -> str:
    rows = value if isinstance(value, list) else [value]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if rows and all(isinstance(row, dict) for row in rows):
        names = _names(rows)
        writer.writerow([_csv_cell(name) for name in names])
        writer.writerows([_csv_cell(row.get(name)) for name in names] for row in rows)
    else:
        writer.writerows([_csv_cell(cell) for cell in _cells(row)] for row in rows)
    return out.getvalue().rstrip("\n")


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cells(row: Any) -> list[Any]:
    if isinstance(row, dict):
        return list(row.values())
    return row if isinstance(row, list) else [row]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _csv_cell(value: Any) -> str:
    return printable(_harmless(_cell(value)))


def _harmless(cell: str) -> str:
    """Return a cell, with an apostrophe before it if a spreadsheet would run it as a formula (not for numbers)."""
    if not cell.lstrip("\"' \t\r\n").startswith(_FORMULA) or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
