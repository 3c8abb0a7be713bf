"""Bars: how many values are in each range or category, of one or two groups."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from mlmgmt_nb.charts.picture import BLUE, HEIGHT, ORANGE, WIDTH, figure, plot

__all__ = ["Bars", "histogram"]

_MARK = "display:inline-block;width:10px;height:10px;margin-right:4px;{}"
_FILLED, _OUTLINED = f"background:{BLUE}", f"border:2px solid {ORANGE};box-sizing:border-box"


class Bars(NamedTuple):
    """The heights of bars, from left to right, and the name of their group."""

    name: str
    heights: Sequence[float]


def histogram(
    title: str, label: str, groups: Sequence[Bars], ends: tuple[str, str], *, note: str = "", height: int = 72
) -> str:
    """Return bars of one group, or of a second one as an outline over the first.

    Args:
        title: what is shown.
        label: the same with its numbers, in words.
        groups: one or two groups with the same number of bars, which are drawn on one scale.
        ends: texts of the left and right end.
        note: short text beside the title.
        height: of the picture, in pixels.
    """
    highest = max((size for group in groups for size in group.heights), default=0.0) or 1.0
    scaled = [[(HEIGHT - 2) * size / highest for size in group.heights] for group in groups]
    drawn = _filled(scaled[0]) + "".join(map(_outlined, scaled[1:]))
    legend = "".join(
        f'<span><span style="{_MARK.format(style)}"></span>{html.escape(group.name)}</span>'
        for group, style in zip(groups, (_FILLED, _OUTLINED), strict=False)
        if group.name
    )
    first, last = (f"<span>{html.escape(end)}</span>" for end in ends)
    return figure(title, note, plot(drawn, label, height), f"{first}{legend}{last}")


def _filled(heights: Sequence[float]) -> str:
    width = WIDTH / max(1, len(heights))
    return "".join(
        f'<rect x="{place * width:.1f}" y="{HEIGHT - size:.1f}" width="{width * 0.9:.1f}" height="{size:.1f}"'
        f' fill="{BLUE}"/>'
        for place, size in enumerate(heights)
        if size
    )


def _outlined(heights: Sequence[float]) -> str:
    width = WIDTH / max(1, len(heights))
    steps = "".join(f"V{HEIGHT - size:.1f}H{(place + 1) * width:.1f}" for place, size in enumerate(heights))
    return (
        f'<path d="M0 {HEIGHT}{steps}V{HEIGHT}" fill="none" stroke="{ORANGE}" stroke-width="2"'
        ' vector-effect="non-scaling-stroke"/>'
    )
