"""A scoring test as HTML: numbers, latencies, failures. The same while it runs and in a report, light and dark."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlmgmt_nb.charts import Bars, Series, chart, histogram, short
from mlmgmt_nb.client.scoring_tests.answers import answer_charts, answer_pairs
from mlmgmt_nb.client.scoring_tests.results import Result, ResultStore, TestCounts
from mlmgmt_nb.client.scoring_tests.timeline import Slice

__all__ = ["CLIENT_BOUND", "answers", "charts", "failures", "is_client_bound", "numbers", "picture", "verdict"]

CLIENT_BOUND = (
    "The client was busy nearly all the time: the figures may show its limit, not the service's. Use more `processes`."
)
_BUSY_SHARE = 0.85
_BARS = 40
_SHOWN_FAILURES = 50
_LONGEST = 120
_LONGEST_WORD = 24
"""Longer words, such as ids, may wrap."""
_TILE = "padding:4px 0;min-width:0"
_COLORS = {"passed": "#1a7f37", "failed": "#c62828", "errored": "#9a6700"}
_TITLES = ("case", "state", "times", "expected", "answer", "why", "ms", "first request")
_TILES = "display:grid;grid-template-columns:repeat(auto-fit,minmax(5.6em,1fr));gap:4px 8px;margin:6px 0"
_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:8px 20px;margin:6px 0"


def picture(store: ResultStore, name: str, summary: Mapping[str, Any]) -> str:
    """Return a whole test as HTML. Text from the services is escaped.

    Args:
        store: its results so far.
        name: name of the service.
        summary: summary of its report.
    """
    head = html.escape(f"Scoring test of {name}" if name else "Scoring test")
    note = f"<p>{html.escape(CLIENT_BOUND)}</p>" if is_client_bound(summary) else ""
    return (
        f"<div><div><b>{head}</b> {verdict(store.numbers, partial=summary['partial'])}</div>"
        f"{numbers(store, summary['client_share'])}{note}{charts(store)}{answers(store)}{failures(store)}</div>"
    )


def is_client_bound(summary: Mapping[str, Any]) -> bool:
    """Return whether the client may have limited the rate of requests."""
    return bool(summary["client_share"] > _BUSY_SHARE)


def verdict(known: TestCounts, *, partial: bool) -> str:
    """Return the verdict in one word, as HTML, and whether the test is incomplete."""
    wrong = known.failed + known.errored
    word, color = ("Failed", _COLORS["failed"]) if wrong else ("Passed", _COLORS["passed"])
    if not wrong and not known.passed:
        word, color = ("Answered", "#6e7781") if known.requests else ("Nothing sent", "#6e7781")
    badge = f'<span style="color:#fff;background:{color};border-radius:.6em;padding:0 .6em">{word}</span>'
    return badge + (" stopped before its end" if partial else "")


def numbers(store: ResultStore, client_share: float) -> str:
    """Return the counts, the rate and the latencies, a tile each."""
    known = store.numbers
    rate = known.requests / known.seconds if known.seconds else 0.0
    tiles = [
        *((word, f"{getattr(known, word):,}", _COLORS[word] if getattr(known, word) else "") for word in _COLORS),
        ("requests", f"{known.requests:,}", ""),
        ("seconds", f"{known.seconds:.1f}", ""),
        ("per second", short(rate), ""),
        *((f"p{percent}", f"{short(1000 * store.percentile(percent))} ms", "") for percent in (50, 95, 99)),
        ("longest", f"{short(1000 * store.latencies.longest)} ms", ""),
        ("client's share", f"{client_share:.0%}", ""),
    ]
    return f'<div style="{_TILES}">{"".join(_tile(*tile) for tile in tiles)}</div>{_others(store)}'


def _tile(label: str, value: str, color: str) -> str:
    mark = f"border-left:3px solid {color};padding-left:7px" if color else ""
    return (
        f'<div style="{_TILE};{mark}"><div style="font-size:1.35em;line-height:1.2;font-variant-numeric:tabular-nums">'
        f'{value}</div><div style="opacity:.75;font-size:.9em">{html.escape(label)}</div></div>'
    )


def _others(store: ResultStore) -> str:
    """Return the latencies of the other service."""
    if not store.others.count:
        return ""
    pairs = ", ".join(f"p{percent} {short(1000 * store.others.percentile(percent))} ms" for percent in (50, 95, 99))
    return f"<div>The other service: {pairs}</div>"


def charts(store: ResultStore) -> str:
    """Return the latencies as a histogram, and requests and latencies over time."""
    width, slices = store.slices()
    if not slices:
        return ""
    span = f"{len(slices) * width:g} s"
    over = {
        f"p{percent}": [1000 * one.latencies.percentile(percent) if one.answers else None for one in slices]
        for percent in (50, 95, 99)
    }
    parts = [
        _latencies(store.bars(_BARS)),
        chart("Requests per second", "", [Series("", _rates(slices, width))], span),
        chart("Latency over time", "ms", [Series(name, values) for name, values in over.items()], span),
    ]
    if any(one.wrong for one in slices):
        parts.append(chart("Failures", "per second", [Series("", [one.wrong / width for one in slices])], span))
    return f'<div style="{_GRID}">{"".join(parts)}</div>'


def _rates(slices: Sequence[Slice], width: float) -> list[float]:
    """Return the requests per second of each slice."""
    # The last slice is not full yet, unless it is the only one.
    full = slices[:-1] if len(slices) > 1 else slices
    return [one.answers / width for one in full]


def answers(store: ResultStore) -> str:
    """Return the answers beside the expected ones: a matrix of classes, or points and residuals of numbers."""
    drawn = answer_charts(answer_pairs(store.outcomes()), is_compared=store.others.count > 0)
    return f'<div style="{_GRID}">{"".join(drawn)}</div>' if drawn else ""


def _latencies(bars: Sequence[tuple[float, float, int, int]]) -> str:
    """Return the latencies as a histogram; those of the other service, if there is one, as an outline."""
    most = max(bars, key=lambda bar: bar[2])
    ends = (f"{short(1000 * bars[0][0])} ms", f"{short(1000 * bars[-1][1])} ms")
    often = f"most between {short(1000 * most[0])} and {short(1000 * most[1])} ms"
    groups = [Bars("", [count for _, _, count, _ in bars])]
    if any(other for *_, other in bars):
        groups = [groups[0]._replace(name="this service"), Bars("the other one", [other for *_, other in bars])]
    label = f"Latencies from {ends[0]} to {ends[1]}; {often}"
    return histogram("Latency distribution", label, groups, ends, note="logarithmic")


def failures(store: ResultStore) -> str:
    """Return the failures as a table with a row for each distinct outcome; empty if there are none."""
    found = store.failed_cases(_SHOWN_FAILURES)
    if not found:
        return ""
    count = store.numbers.failed + store.numbers.errored
    more = f" (the first {len(found)} different ones)" if sum(times for _, times in found) < count else ""
    return (
        f'<div style="margin-top:6px"><b>{count:,} failure{"" if count == 1 else "s"}</b>{more}</div>'
        '<div style="max-height:24em;overflow:auto" tabindex="0" role="region" aria-label="failures">'
        f"{_table([_failure(*one) for one in found])}</div>"
    )


def _failure(result: Result, times: int) -> list[str]:
    state = "failed" if result.passed is False else "errored"
    values = ["" if value is None else _json(value) for value in (result.expected, result.answer)]
    milliseconds = f"{1000 * result.seconds:.1f}"
    return [str(result.case), state, f"{times:,}", *values, result.error, milliseconds, result.request_id]


def _table(cells: Sequence[Sequence[str]]) -> str:
    """Return a table, without the columns that are empty in all rows."""
    filled = [place for place in range(len(_TITLES)) if any(row[place] for row in cells)]
    head = "".join(f'<th scope="col" style="text-align:left">{_TITLES[place]}</th>' for place in filled)
    rows = "".join(f"<tr>{''.join(_cell(row[place]) for place in filled)}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(text: str) -> str:
    keep = "" if " " in text or len(text) > _LONGEST_WORD else ";white-space:nowrap"
    return f'<td style="text-align:left{keep}">{html.escape(_short(text))}</td>'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
