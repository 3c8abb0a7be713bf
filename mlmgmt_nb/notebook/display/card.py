"""A card: the display of a resource, as HTML for a notebook and as aligned text for a terminal. Both are static."""

from __future__ import annotations

import datetime as dt
import html
import sys
from typing import Any, NamedTuple, Protocol

from mlmgmt_nb.terminal import encodable, one_line, printable

__all__ = ["Card", "Shown", "badge", "bundle", "html_cell", "printable_text", "rows_of", "utc"]

_COLORS = {
    "Succeeded": "#1a7f37",
    "Active": "#1a7f37",
    "Serving": "#1a7f37",
    "Passed": "#1a7f37",
    "Failed": "#c62828",
    "TakenBack": "#c62828",
    "Not serving": "#c62828",
    "Cancelled": "#6e7781",
    "Running": "#0969da",
    "Deploying": "#0969da",
    "NotStarted": "#6e7781",
    "Deleted": "#6e7781",
}


class Shown(Protocol):
    """A value with a text form and an HTML form."""

    def text(self) -> str:
        """Return the text for a terminal."""

    def html(self) -> str:
        """Return the HTML for a notebook."""


class Card(NamedTuple):
    """The display of a resource: its kind, name and state, and rows of a label and a value (plain text or a time)."""

    kind: str
    name: str
    state: str | None
    rows: list[tuple[str, str | dt.datetime]]

    def lines(self) -> list[tuple[str, str]]:
        """Return the rows as text. Times have no age, which would be wrong in a saved notebook."""
        return [(label, utc(value) if isinstance(value, dt.datetime) else value) for label, value in self.rows]

    def text(self) -> str:
        """Return the text for a terminal."""
        head = " ".join(part for part in (self.kind, self.name, f"[{self.state}]" if self.state else "") if part)
        width = max((len(label) for label, _ in self.rows), default=0)
        rows = [f"  {label:<{width}}  {one_line(value)}" for label, value in self.lines()]
        return "\n".join([one_line(head), *rows])

    def html(self) -> str:
        """Return the HTML for a notebook."""
        head = f"<b>{html.escape(self.kind)} {html.escape(self.name)}</b> {badge(self.state) if self.state else ''}"
        rows = "".join(
            f"<tr><th style='text-align:left;white-space:nowrap'>{html.escape(a)}</th>"
            f"<td style='text-align:left;overflow-wrap:anywhere'>{html_cell(b)}</td></tr>"
            for a, b in self.lines()
        )
        return f"<div>{head}<table>{rows}</table></div>"


def badge(state: str) -> str:
    """Return a state as HTML: a word, not only a color."""
    color = _COLORS.get(state, "#6e7781")
    style = f"color:#fff;background:{color};border-radius:0.6em;padding:0 0.6em"
    return f'<span style="{style}">{html.escape(state)}</span>'


def bundle(text: str, markup: str) -> dict[str, str]:
    """Return the MIME bundle of a display: text and HTML."""
    return {"text/plain": printable_text(text), "text/html": markup}


def printable_text(text: str) -> str:
    """Return the text as the terminal can print it; a notebook can print every character."""
    return encodable(printable(text), getattr(sys.stdout, "encoding", None))


def html_cell(value: str) -> str:
    escaped = html.escape(value)
    if value.startswith(("http://", "https://")):
        return f'<a href="{escaped}" target="_blank" rel="noopener">{escaped}</a>'
    is_code = value.startswith("%mlmgmt ") or (len(value) == 36 and value.count("-") == 4)
    return f"<code>{escaped}</code>" if is_code else escaped


def rows_of(*rows: tuple[str, Any]) -> list[tuple[str, str | dt.datetime]]:
    """Return the rows that have a value, as text; times stay times."""
    return [(label, _shown(value)) for label, value in rows if value is not None and value != []]


def _shown(value: Any) -> str | dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def utc(moment: dt.datetime) -> str:
    """Return a time as text; without a zone, it is in UTC."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
