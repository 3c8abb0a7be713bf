"""The picture in a chart, and the figure around it."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

__all__ = ["BLUE", "HEIGHT", "ORANGE", "WIDTH", "figure", "plot", "short", "still"]

WIDTH, HEIGHT = 300, 64
BLUE, ORANGE = "#3b82f6", "#d97706"
"""Colors that can be seen on light and dark."""
_PLOT = (
    "display:block;width:100%;height:{}px;border-bottom:1px solid rgba(128,128,128,.5);background:rgba(128,128,128,.07)"
)
_OPENING = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
_PLOTTED = re.compile(rf'{_OPENING} role="img" aria-label="([^"]*)" style="([^"]*)">(.*?)</svg>')


def plot(shapes: str, label: str, height: int = 72) -> str:
    """Return the picture in a chart, as wide as there is room.

    Args:
        shapes: SVG within `WIDTH` by `HEIGHT`, which is stretched.
        label: what it shows, in words.
        height: in pixels.
    """
    return f'{_OPENING} role="img" aria-label="{html.escape(label)}" style="{_PLOT.format(height)}">{shapes}</svg>'


def figure(title: str, note: str, picture: str, below: str) -> str:
    """Return a picture with its title, a note beside it, and HTML below the picture."""
    return (
        '<figure style="margin:0;flex:1 1 220px;min-width:0">'
        '<figcaption style="display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:0 .9em">'
        f'<b>{html.escape(title)}</b><span style="opacity:.8;font-size:.85em">{html.escape(note)}</span></figcaption>'
        f"{picture}"
        '<div style="display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 .9em;opacity:.8;font-size:.85em">'
        f"{below}</div></figure>"
    )


def still(markup: str) -> str:
    """Return the markup with its plots as images, which front ends keep in untrusted output. New at each change, as
    in a panel that moves, they would flicker.
    """
    return _PLOTTED.sub(_as_image, markup)


def _as_image(plotted: re.Match[str]) -> str:
    label, style, shapes = plotted.groups()
    data = quote(f"{_OPENING}>{shapes}</svg>", safe=" /:=,.()")  # not Base64, which looks like a key
    return f'<img alt="{label}" style="{style}" src="data:image/svg+xml,{data}">'


def short(number: float) -> str:
    """Return a number in few characters: `0`, `0.25`, `3.1`, `128`, `12.5k`, `-3.1`."""
    if number < 0:
        return f"-{short(-number)}"
    if number >= 1000:
        return f"{number / 1000:.3g}k"
    return f"{number:.0f}" if number >= 100 or number == 0 else f"{number:.2g}" if number < 10 else f"{number:.3g}"
