"""The differences between two contents as HTML. Text of users is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["page"]

_TITLES = {
    "schema": "Schema",
    "model": "Models",
    "driver": "Driver",
    "file": "Files",
    "python": "Python",
    "package": "Packages",
    "setting": "Settings",
}
_WARNING = '<span style="color:#fff;background:#c62828;border-radius:.6em;padding:0 .6em">breaks callers</span>'
_COLORS = {"+": "#1a7f37", "-": "#c62828", "@": "#0969da"}
_LEFT = "text-align:left;vertical-align:top"


class Shown(Protocol):
    """A difference; see `Change`."""

    @property
    def name(self) -> str: ...
    @property
    def old(self) -> Any: ...
    @property
    def new(self) -> Any: ...
    @property
    def detail(self) -> str: ...
    @property
    def breaks(self) -> bool: ...


def page(old: str, new: str, sections: Sequence[tuple[str, Sequence[Shown]]], notes: Sequence[str]) -> str:
    """Return the differences as HTML that needs no script.

    Args:
        old, new: names of both sides.
        sections: the differences by kind.
        notes: sentences to show at the end.
    """
    head = f"<b>{html.escape(old)}</b> → <b>{html.escape(new)}</b>"
    parts = [_section(_TITLES[kind], changes) for kind, changes in sections if changes]
    told = [f'<div style="opacity:.75">{html.escape(note)}</div>' for note in notes]
    return f"<div><div>{head}</div>{''.join(parts) or '<div>no differences</div>'}{''.join(told)}</div>"


def _section(title: str, changes: Sequence[Shown]) -> str:
    rows = "".join(map(_row, changes))
    head = "".join(f'<th scope="col" style="{_LEFT}">{word}</th>' for word in (title, "old", "new", "detail"))
    return f'<table style="margin-top:6px"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(change: Shown) -> str:
    sides = "".join(f'<td style="{_LEFT}">{_side(side)}</td>' for side in (change.old, change.new))
    return (
        f'<tr><th scope="row" style="{_LEFT};font-weight:normal"><code>{html.escape(change.name)}</code></th>{sides}'
        f'<td style="{_LEFT}">{_WARNING + " " if change.breaks else ""}{_detail(change.detail)}</td></tr>'
    )


def _side(value: Any) -> str:
    return "—" if value is None else html.escape(str(value))


def _detail(detail: str) -> str:
    if not detail.startswith("--- "):
        return "<br>".join(html.escape(line) for line in detail.splitlines())
    lines = detail.splitlines()[2:]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    shown = "\n".join(_line(line) for line in lines)
    return (
        f"<details><summary>{added} added, {removed} removed</summary>"
        f'<pre style="max-height:24em;overflow:auto" tabindex="0">{shown}</pre></details>'
    )


def _line(line: str) -> str:
    color = _COLORS.get(line[:1])
    escaped = html.escape(line)
    return f'<span style="color:{color}">{escaped}</span>' if color else escaped
