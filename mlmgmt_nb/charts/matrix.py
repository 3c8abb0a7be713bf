"""A matrix of counts: pairs of two labels."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

__all__ = ["matrix"]

_CELL = "text-align:right;padding:2px 8px;font-variant-numeric:tabular-nums;background:rgba(59,130,246,{:.2f})"
_HEAD = "text-align:{};padding:2px 8px;font-weight:normal"


def matrix(title: str, sides: tuple[str, str], labels: Sequence[str], counts: Mapping[tuple[str, str], int]) -> str:
    """Return how often each pair of labels occurs, as a table. Its last column is the share of pairs that are equal.

    Args:
        title: what is shown.
        sides: names of the rows and of the columns.
        labels: the labels, in order.
        counts: by the labels of row and column.
    """
    totals = {row: sum(counts.get((row, column), 0) for column in labels) for row in labels}
    head = "".join(_head(label, "right", "col") for label in (*labels, "equal"))
    rows = "".join(_row(label, labels, counts, totals[label]) for label in labels)
    corner = _head(f"{sides[0]} \N{DOWNWARDS ARROW}  {sides[1]} \N{RIGHTWARDS ARROW}", "left", "col")
    return (
        '<figure style="margin:0;flex:1 1 220px;min-width:0">'
        f"<figcaption><b>{html.escape(title)}</b></figcaption>"
        f'<div style="overflow-x:auto" tabindex="0" role="region" aria-label="{html.escape(title)}">'
        f"<table><thead><tr>{corner}{head}</tr></thead><tbody>{rows}</tbody></table></div></figure>"
    )


def _row(row: str, labels: Sequence[str], counts: Mapping[tuple[str, str], int], total: int) -> str:
    cells = "".join(_cell(counts.get((row, column), 0), total, is_equal=row == column) for column in labels)
    share = f"{counts.get((row, row), 0) / total:.0%}" if total else ""
    return f'<tr>{_head(row, "left", "row")}{cells}<td style="{_CELL.format(0)}">{share}</td></tr>'


def _cell(count: int, total: int, *, is_equal: bool) -> str:
    shown = f"<b>{count:,}</b>" if is_equal else f"{count:,}" if count else ""
    return f'<td style="{_CELL.format(0.35 * count / total if total else 0)}">{shown}</td>'


def _head(text: str, align: str, scope: str) -> str:
    return f'<th scope="{scope}" style="{_HEAD.format(align)}">{html.escape(text)}</th>'
