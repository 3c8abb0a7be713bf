"""Charts of numbers over time."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from mlmgmt_nb.charts.picture import HEIGHT, WIDTH, plot, short

__all__ = ["Series", "chart"]

_STROKES = (("#3b82f6", ""), ("#d97706", "5 3"), ("#db2777", "1.5 2.5"))
"""Color and dashes of each series: they can be told apart without the color, and seen on light and dark."""
_DOT = "display:inline-block;width:18px;height:0;vertical-align:middle;border-top:2px {style} {color};margin-right:4px"
_STYLES = ("solid", "dashed", "dotted")


class Series(NamedTuple):
    """Numbers over time, oldest first, None where there is none; at most three series go into a chart."""

    name: str
    values: Sequence[float | None]


def chart(title: str, unit: str, series: Sequence[Series], span: str) -> str:
    """Return a chart with its numbers in words: the last of each series and the highest of all.

    Args:
        title: what is shown.
        unit: of the numbers, such as `ms`; may be empty.
        series: what to draw.
        span: the time that it covers, in words.
    """
    highest = _highest(series)
    tail = f" {unit}" if unit else ""
    now = ", ".join(f"{one.name} {_last(one) or 'none'}{_tail(one, tail)}".strip() for one in series)
    top = "" if highest is None else f"highest {short(highest)}{tail}"
    label = f"{title}: {now}; {top} in the {span}" if top else f"{title}: none in the {span}"
    lines = "".join(_line(one, highest or 1.0, place) for place, one in enumerate(series))
    return (
        '<figure style="margin:0;flex:1 1 200px;min-width:0">'
        '<figcaption style="display:flex;justify-content:space-between;align-items:baseline">'
        f'<b>{html.escape(title)}</b><span style="opacity:.75;font-size:.85em">{html.escape(top)}</span>'
        "</figcaption>"
        f"{plot(lines, label)}"
        '<div style="display:flex;flex-wrap:wrap;gap:0 .9em;margin-top:2px">'
        f"{''.join(_legend(one, tail, place) for place, one in enumerate(series))}"
        f'<span style="opacity:.75;margin-left:auto">{html.escape(span)}</span></div></figure>'
    )


def _highest(series: Sequence[Series]) -> float | None:
    return max((value for one in series for value in one.values if value is not None), default=None)


def _last(one: Series) -> str:
    """Return the last number, or "" if there is none."""
    value = one.values[-1] if one.values else None
    return "" if value is None else short(value)


def _tail(one: Series, tail: str) -> str:
    """Return the unit after the last number of a series, which only a number has."""
    return tail if _last(one) else ""


def _legend(one: Series, tail: str, place: int) -> str:
    color, _ = _STROKES[place]
    dot = f'<span style="{_DOT.format(style=_STYLES[place], color=color)}"></span>' if one.name else ""
    return f"<span>{dot}{html.escape(one.name)} <b>{_last(one) or '-'}</b>{html.escape(_tail(one, tail))}</span>"


def _line(one: Series, highest: float, place: int) -> str:
    """Return the line; it is broken where a number is missing."""
    step = WIDTH / max(1, len(one.values) - 1)
    parts, pen_is_down = [], False
    for number, value in enumerate(one.values):
        if value is None:
            pen_is_down = False
            continue
        parts.append(f"{'L' if pen_is_down else 'M'}{number * step:.0f} {(HEIGHT - 2) * (1 - value / highest) + 1:.1f}")
        if not pen_is_down:
            parts.append(f"h{WIDTH if len(one.values) == 1 else 1}")  # one number by itself is seen, too
        pen_is_down = True
    color, dashes = _STROKES[place]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="{"".join(parts)}" fill="none" stroke="{color}" stroke-width="1.8"{dashed}'
        ' vector-effect="non-scaling-stroke"/>'
    )
