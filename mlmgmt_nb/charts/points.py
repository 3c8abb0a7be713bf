"""Points: pairs of numbers, with the line where both are equal, or a level."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Literal

from mlmgmt_nb.charts.picture import BLUE, HEIGHT, ORANGE, WIDTH, figure, plot, short

__all__ = ["points"]

_MOST = 1000
_EDGE = 3


def points(
    title: str,
    pairs: Sequence[tuple[float, float]],
    axes: tuple[str, str],
    *,
    line: Literal["equal", "zero"],
    note: str = "",
    height: int = 160,
) -> str:
    """Return pairs of numbers as points. Of many pairs, every n-th is drawn.

    Args:
        title: what is shown.
        pairs: a number to the right and one upward each; at least one pair.
        axes: names of both.
        line: the line of pairs that are `equal`, for which both axes have one scale, or the line of `zero` upward.
        note: short text beside the title.
        height: of the picture, in pixels.
    """
    step = -(-len(pairs) // _MOST)
    across, up = _range([x for x, _ in pairs]), _range([y for _, y in pairs])
    if line == "equal":
        across = up = (min(across[0], up[0]), max(across[1], up[1]))
    else:
        up = (min(0.0, up[0]), max(0.0, up[1]))
    dots = "".join(dict.fromkeys(f"M{_x(x, across):.1f} {_y(y, up):.1f}h0" for x, y in pairs[::step]))
    level = (
        f"M{_EDGE} {HEIGHT - _EDGE}L{WIDTH - _EDGE} {_EDGE}" if line == "equal" else (f"M0 {_y(0.0, up):.1f}H{WIDTH}")
    )
    drawn = (
        f'<path d="{level}" stroke="{ORANGE}" stroke-width="1.5" vector-effect="non-scaling-stroke"/>'
        f'<path d="{dots}" stroke="{BLUE}" stroke-opacity=".6" stroke-width="5" stroke-linecap="round"'
        ' vector-effect="non-scaling-stroke"/>'
    )
    right, upward = (
        f"{name} {short(low)} to {short(high)}" for name, (low, high) in zip(axes, (across, up), strict=True)
    )
    label = f"{title}: {len(pairs):,} points; to the right {right}, upward {upward}. {note}".strip()
    below = (
        f"<span>\N{RIGHTWARDS ARROW} {html.escape(right)}</span><span>\N{UPWARDS ARROW} {html.escape(upward)}</span>"
    )
    if step > 1:
        below += f"<span>every {step}th of {len(pairs):,} points</span>"
    return figure(title, note, plot(drawn, label, height), below)


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    return min(numbers), max(numbers)


def _x(value: float, span: tuple[float, float]) -> float:
    return _EDGE + (WIDTH - 2 * _EDGE) * _part(value, span)


def _y(value: float, span: tuple[float, float]) -> float:
    return HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * _part(value, span)


def _part(value: float, span: tuple[float, float]) -> float:
    low, high = span
    return 0.5 if low == high else (value - low) / (high - low)
