"""The displays of lists and of values that are not resources: properties and their values, as cards and tables."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlmgmt_nb.notebook.display.card import Card, Shown, html_cell, rows_of, utc
from mlmgmt_nb.short_repr import cut
from mlmgmt_nb.terminal import one_line

__all__ = ["log_text", "records"]

_ROWS = 20
_LONGEST = 200


def records() -> Iterator[tuple[str, str, Callable[[Any], Shown | str]]]:
    """Yield the module and name of each type, and the function that returns its display."""
    client, contract = "mlmgmt_nb.client", "mlmgmt_nb.contract"
    yield f"{client}.http.paging", "Pager", _pager
    yield (
        f"{client}.http.paging",
        "Page",
        lambda page: _Table("page", page.value, has_more=bool(page.continuation_token)),
    )
    yield f"{client}.computes", "ComputeList", lambda computes: _Table("computes", computes)
    yield f"{client}.monitoring.logs", "LogPart", lambda part: log_text(part.text)
    yield f"{client}.scoring_tests.test", "ScoringTest", str
    yield f"{client}.services.replaying", "ReplayCases", repr
    yield f"{client}.replays.replay", "Endpoint", repr
    yield f"{client}.workspace.workspace", "Workspace", _workspace
    yield f"{contract}.archiving", "Archived", str
    yield f"{contract}.resources", "AuthKeys", _hidden_keys
    yield f"{contract}.recording", "RecordedRequests", _recorded
    for module, name, title in (
        (f"{contract}.extensions", "AuditEntry", "audit entry"),
        (f"{contract}.extensions", "DockerImage", "Docker image"),
        (f"{client}.auth.identity", "Identity", "identity"),
        (f"{client}.monitoring.metrics", "ServiceMetrics", "metrics"),
        (f"{client}.changes.contents", "Contents", "contents"),
        (f"{client}.scoring", "Scored", "answer"),
        ("mlmgmt_nb.packaging.package", "Package", "package"),
    ):
        yield module, name, _record(title)


def log_text(log: str) -> str:
    """Return a log for display."""
    from mlmgmt_nb.client.monitoring.log_lines import readable_log  # needed only here

    return readable_log(log).rstrip("\n")


class _Table:
    """A list, as a table of its first rows.

    Args:
        title: title of the table, such as the kind of its items.
        items: resources of one type, or dictionaries.
        has_more: whether the list has more items than these.
    """

    def __init__(self, title: str, items: Sequence[Any], *, has_more: bool = False) -> None:
        shown = items[:_ROWS]
        rows = list(shown) if shown and isinstance(shown[0], dict) else _rows(shown)
        self._names = list(dict.fromkeys(name for row in rows for name in row))
        self._rows = [[_words(row.get(name)) for name in self._names] for row in rows]
        more = " and more" if has_more else ""
        self._head = f"{title}: {len(items):,}{more}" + (f", the first {_ROWS}" if len(items) > _ROWS else "")

    def text(self) -> str:
        """Return the text for a terminal."""
        lines = [self._names, *([one_line(cell) for cell in row] for row in self._rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self._names))]
        shown = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self._head, *(line.rstrip() for line in shown if self._rows)])

    def html(self) -> str:
        """Return the HTML for a notebook."""
        head = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in self._names)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self._rows)
        return f"<div><b>{html.escape(self._head)}</b><table><tr>{head}</tr>{body}</table></div>"


def _rows(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of resources, with the time of creation: an age is wrong in a saved notebook."""
    from mlmgmt_nb.commands.output.listing import narrow_rows

    rows: list[dict[str, Any]] = []
    for item, row in zip(items, narrow_rows(items), strict=True):
        created = getattr(item, "created_at", None) or getattr(item, "created_time", None)
        times = {"age": ("created", utc(created) if created else None)}
        rows.append(dict(times.get(name, (name, value)) for name, value in row.items()))
    return rows


def _cell(text: str) -> str:
    return f"<td style='text-align:left'>{html_cell(text)}</td>"


def _pager(pager: Any) -> Shown:
    """Return the first page of a list, or the reason why it cannot be read."""
    from mlmgmt_nb.errors import MlmgmtError

    try:
        page = next(pager.by_page())
    except MlmgmtError as error:
        return Card("list", repr(pager), None, [("error", error.message)])
    return _Table(pager.title, page.value, has_more=bool(page.continuation_token))


def _workspace(ws: Any) -> Card:
    return Card("workspace", "", None, rows_of(("URL", ws.base_url), ("compute", ws.compute)))


def _hidden_keys(_: Any) -> Card:
    rows = rows_of(("primary_key", "***"), ("secondary_key", "***"), ("hint", "the attributes have the keys"))
    return Card("keys", "", None, rows)


def _recorded(requests: Any) -> Card:
    rows = rows_of(
        ("requests", str(len(requests.value))),
        ("kept", str(requests.kept)),
        ("dropped", str(requests.dropped)),
        ("bytes", f"{requests.bytes:,}"),
    )
    return Card("recorded requests", "", None, rows)


def _record(title: str) -> Callable[[Any], Card]:
    """Return a function that creates the card of a value from its properties."""

    def card(value: Any) -> Card:
        rows = [(name, _words(given)) for name, given in _properties(value)]
        return Card(title, "", None, [(name, words) for name, words in rows if words])

    return card


def _properties(value: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        names: Sequence[str] = [field.name for field in dataclasses.fields(value) if field.repr]
    else:
        names = getattr(value, "__struct_fields__", None) or value._fields
    yield from ((name, getattr(value, name)) for name in names)


def _words(value: Any) -> str:
    """Return a value as the text of a table cell."""
    if value is None or value is False:
        return ""
    if isinstance(value, Mapping):
        return cut(", ".join(f"{name}={_words(item)}" for name, item in value.items()), _LONGEST)
    if isinstance(value, (list, tuple)):
        return cut(", ".join(map(_words, value)), _LONGEST)
    return cut(repr(value) if hasattr(value, "__struct_fields__") else str(value), _LONGEST)
