"""Values as text: tables for people; JSON, TSV and CSV for programs; and JMESPath queries on them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mlmgmt_nb.client import Pager, ScoringReport
from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.client.deploying.verification import DeployedService
from mlmgmt_nb.client.drift.report import Drift
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.commands.output.listing import cut, narrow_rows, programs_rows, wide_rows
from mlmgmt_nb.commands.usage import Usage
from mlmgmt_nb.commands.values import Keys, Settings
from mlmgmt_nb.commands.verbs.drivers import CheckedDriver
from mlmgmt_nb.contract.archiving import Archived
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.terminal import encodable, json_printable, one_line, printable

__all__ = ["deployed", "formatted", "plain", "queried"]

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that start a formula in a spreadsheet, and their full-width forms."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def plain(value: Any) -> Any:
    """Return a value as JSON types, with API names. Keys are masked unless they were requested unmasked."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    if hasattr(value, "iloc"):  # a DataFrame; in JSON, times are text and missing values are null
        return json.loads(value.to_json(orient="records", date_format="iso"))
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    return str(value) if isinstance(value, str) else value


_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Pager, lambda pager: [msgspec.to_builtins(item) for item in pager]),
    (Keys, lambda keys: keys.visible()),
    (ScoringReport, lambda report: dict(report.summary)),
    ((Difference, Drift, ReplayReport), lambda report: report.to_dict()),
    (ProposedChange, lambda change: plain(change.candidate)),
    (Settings, lambda settings: [dict(row) for row in settings.rows]),
    (
        Usage,
        lambda usage: {
            "scoringUri": usage.scoring_uri,
            "swaggerUri": usage.swagger_uri,
            "headers": usage.headers,
            "sample": usage.sample,
        },
    ),
)
"""The conversions to JSON types of values that have their own form in JSON."""


def queried(value: Any, query: str) -> Any:
    """Return the result of a JMESPath query on a value.

    Raises:
        UsageError: the query is not valid.
    """
    import jmespath  # only queries need it
    import jmespath.exceptions

    fix = "See jmespath.org for the language."
    if not isinstance(query, str):  # `--query {expression}` in a notebook
        raise UsageError(f"--query is {query!r}, which is not text", field="query", fix=fix)
    try:
        return jmespath.search(query, plain(value))
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(f"--query: {error}", field="query", fix=fix) from error


def formatted(value: Any, output: str, query: str | None = None, encoding: str | None = None) -> str:
    """Return a value as the text that a shell prints, without a trailing newline.

    Terminal control characters are escaped, and spreadsheets do not evaluate cells of TSV or CSV as formulas. A single
    value of a query in TSV is not a cell but for a shell, such as a key: it is unchanged but for control characters.

    Args:
        value: the result of a command or query.
        output: `table`, `wide`, `json`, `tsv` or `csv`.
        query: a JMESPath query to apply first. TSV then has no header.
        encoding: encoding of the terminal or file. JSON is ASCII if the encoding lacks one of its characters.
    """
    if query:
        value = queried(value, query)
    if output == "json":
        return _json(plain(value), encoding)
    if output == "tsv" and query and isinstance(value, str):
        return one_line(_escaped(value))
    if output in {"tsv", "csv"}:
        names, rows = _rows(value)
        return _csv(names, rows) if output == "csv" else _tsv([] if query else names, rows)
    return _for_people(value, is_wide=output == "wide")


def _for_people(value: Any, *, is_wide: bool) -> str:
    if isinstance(value, (Archived, Usage, CheckedDriver, ScoringReport, Difference, Drift, ReplayReport)):
        return printable(str(value))
    if isinstance(value, DeployedService):
        return printable(deployed(value, "mlmgmt"))
    if isinstance(value, Keys):
        return _record(plain(value))
    if isinstance(value, ProposedChange):
        value = value.candidate
    if isinstance(value, msgspec.Struct):
        return _record(wide_rows([value])[0])
    if isinstance(value, Pager):
        return _table(wide_rows(list(value)) if is_wide else narrow_rows(list(value)))
    value = plain(value)
    return _table(_with_short_texts(value) if _is_table(value) and not is_wide else value)


def _with_short_texts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: cut(name, cell) for name, cell in row.items()} for row in rows]


def deployed(service: DeployedService, prog: str) -> str:
    """Return the three lines about a verified service. `prog` is the program as the user calls it."""
    (name, proof), (url, uri), (hint, command) = service.lines
    return "\n".join([f"{name} {proof}", f"{url}     {uri}", f"{hint}  {prog} {command}"])


def _rows(value: Any) -> tuple[list[str], list[list[Any]]]:
    """Return the column names, or an empty list, and the rows for programs."""
    if isinstance(value, Pager):
        return programs_rows(value.item, list(value))
    value = plain(value)
    rows = value if isinstance(value, list) else [value]
    if _is_table(rows):
        names = _names(rows)
        return names, [[row.get(name) for name in names] for row in rows]
    return [], [_cells(row) for row in rows]


def _json(value: Any, encoding: str | None = None) -> str:
    text = json_printable(json.dumps(value, indent=2, ensure_ascii=False))
    return text if encodable(text, encoding) == text else json.dumps(value, indent=2)


def _record(value: Mapping[str, Any]) -> str:
    """Return a record with one line per value, without empty values."""
    known = {name: printable(_cell(_summary(item))) for name, item in value.items()}
    known = {name: text for name, text in known.items() if text not in {"", "{}"}}
    width = max(map(len, known), default=0)
    # Continuation lines are indented so that they do not look like other values.
    known = {name: text.replace("\n", "\n" + " " * (width + 2)) for name, text in known.items()}
    return "\n".join(f"{name:<{width}}  {text}" for name, text in known.items())


def _table(value: Any) -> str:
    if isinstance(value, str):
        return printable(value.rstrip("\n"))
    if _is_table(value):
        return _aligned(value)
    return "" if value == [] else _json(value)


def _aligned(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as lines with aligned columns, below their names."""
    names = _names(records)
    rows = [[one_line(_cell(record.get(name))) for name in names] for record in records]
    names = [one_line(name) for name in names]
    widths = [max(len(name), *(len(row[i]) for row in rows)) for i, name in enumerate(names)]
    lines = [names, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _summary(value: Any) -> Any:
    """Return a nested resource as its id, an error as its message, and other values unchanged."""
    if isinstance(value, dict):
        return value.get("id") or value.get("message") or value
    return [_summary(item) for item in value] if isinstance(value, list) else value


def _tsv(names: list[str], rows: list[list[Any]]) -> str:
    lines = [names, *rows] if names else rows
    return "\n".join("\t".join(one_line(_escaped(_harmless(_cell(cell)))) for cell in line) for line in lines)


def _csv(names: list[str], rows: list[list[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([_csv_cell(cell) for cell in line] for line in ([names, *rows] if names else rows))
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
    """Return a cell, with a leading apostrophe if a spreadsheet would evaluate it as a formula (except for numbers)."""
    if not cell.lstrip("\"' \t\r\n").startswith(_FORMULA) or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
