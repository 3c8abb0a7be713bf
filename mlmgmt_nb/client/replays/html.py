"""The report of a replay as HTML: light and dark, without scripts. Text of services is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from mlmgmt_nb.charts import matrix, short
from mlmgmt_nb.client.replays.fields import FieldChanges
from mlmgmt_nb.client.replays.pairs import Pairs
from mlmgmt_nb.client.scoring_tests.gate import Number

__all__ = ["document", "page"]

_LEFT, _RIGHT = "text-align:left;vertical-align:top", "text-align:right;font-variant-numeric:tabular-nums"
_UNITS = {"errors": "", "p50": ", ms", "p95": ", ms", "p99": ", ms", "memory": ", MB"}
_SHOWN = 50
_SHOWN_FIELDS = 50
_LONGEST = 160
_BAR = "display:inline-block;height:100%"
_COLORS = {"equal": "#1a7f37", "different": "#c62828", "not answered": "#9a6700"}


class Report(Protocol):
    """See `ReplayReport`."""

    old: str
    new: str
    kind: Literal["replay", "mirror"]

    @property
    def numbers(self) -> Any: ...
    @property
    def summary(self) -> Any: ...
    @property
    def is_partial(self) -> bool: ...


def page(report: Report, pairs: Pairs) -> str:
    """Return the report."""
    head = f"<b>{report.kind.capitalize()}</b> {html.escape(report.old)} → {html.escape(report.new)}"
    stopped = " (stopped before its end)" if report.is_partial else ""
    parts = [_shares(report, pairs), _numbers(report), _fields(pairs), _classes(pairs), _different(pairs)]
    return f"<div><div>{head}, {len(pairs):,} requests{stopped}</div>{''.join(parts)}</div>"


def document(title: str, content: str) -> str:
    """Return a whole document."""
    style = "body{font:14px/1.5 system-ui,sans-serif;margin:2em}td,th{padding:2px 10px 2px 0}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>{content}</body></html>"
    )


def _shares(report: Report, pairs: Pairs) -> str:
    """Return the shares of equal and different answers, as a bar and in words."""
    counts = {"equal": pairs.equal, "different": pairs.answered - pairs.equal}
    counts["not answered"] = len(pairs) - pairs.answered
    total = max(1, len(pairs))
    drawn = "".join(
        f'<span style="{_BAR};width:{100 * count / total:.3f}%;background:{_COLORS[name]}"></span>'
        for name, count in counts.items()
    )
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    bar = f'<div role="img" aria-label="{told}" style="height:10px;margin:6px 0;font-size:0">{drawn}</div>'
    agree = f"; equal where both answered: {_interval(report.numbers['agree'])}" if pairs.answered else ""
    return f"{bar}<div>{told}{agree}; answered by the old one only: {pairs.lost:,}</div>"


def _numbers(report: Report) -> str:
    """Return latencies, errors and memory of both sides."""
    numbers = report.numbers
    sides = [(name, *(numbers.get(f"{side}{name}") for side in ("old.", ""))) for name in _UNITS]
    rows = [
        [_text(f"{name}{_UNITS[name]}"), _number(old), _number(new)]
        for name, old, new in sides
        if old is not None or new is not None
    ]
    return _table(("number", f"old: {report.old}", f"new: {report.new}"), rows, "numbers of both")


def _fields(pairs: Pairs) -> str:
    moved = sorted((item for item in pairs.fields.items() if item[1].moved), key=lambda item: -item[1].moved)
    titles = ("field", "moved", "of", "old mean", "new mean", "mean shift", "interval (95 %)", "largest")
    return _table(titles, [_field(*item) for item in moved[:_SHOWN_FIELDS]], "fields that moved")


def _field(name: str, change: FieldChanges) -> list[str]:
    found = {key: "" if value is None else f"{value:.6g}" for key, value in change.numbers().items()}
    between = f"{found['shift_low']} to {found['shift_high']}" if found["shift"] else ""
    counts = [f"{change.moved:,}", f"{change.values:,}"]
    shifts = [found["old_mean"], found["new_mean"], found["shift"], between, found["largest_shift"]]
    return [_text(name), *map(_right, [*counts, *shifts])]


def _classes(pairs: Pairs) -> str:
    """Return a matrix of old and new classes for each field whose class changed."""
    shown = [_matrix(name, change) for name, change in pairs.fields.items() if change.moved and len(change.labels) > 1]
    return "".join(shown[:_SHOWN_FIELDS])


def _matrix(name: str, change: FieldChanges) -> str:
    counts = {(_json(old), _json(new)): count for (old, new), count in change.classes.items()}
    return matrix(f"Classes of {name}", ("old", "new"), [_json(label) for label in change.labels], counts)


def _different(pairs: Pairs) -> str:
    rows = [
        [
            _right(str(one.case)),
            _text(one.old_error or _json(one.old)),
            _text(one.new_error or _json(one.new)),
            _text(", ".join(one.fields)),
        ]
        for one in sorted(pairs.different, key=lambda one: one.case)[:_SHOWN]
    ]
    return _table(("case", "old answer", "new answer", "fields that moved"), rows, "requests whose answers differ")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f'<th scope="col" style="{_LEFT}">{html.escape(title)}</th>' for title in titles)
    return (
        f'<div style="max-height:24em;overflow:auto;margin-top:6px" tabindex="0" role="region"'
        f' aria-label="{html.escape(label)}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _number(number: Number | None) -> str:
    return "<td></td>" if number is None else f'<td style="{_RIGHT}">{_interval(number)}</td>'


def _interval(number: Number) -> str:
    value, low, high = (short(one) for one in number)
    return value + ("" if number.low == number.high else f' <span style="opacity:.75">({low} to {high})</span>')


def _right(text: str) -> str:
    return f'<td style="{_RIGHT}">{html.escape(text)}</td>'


def _text(text: str) -> str:
    kept = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f'<td style="{_LEFT}">{html.escape(kept)}</td>'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
