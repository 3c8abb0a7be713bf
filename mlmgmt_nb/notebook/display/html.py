"""HTML building blocks of panels. They escape their text, and no meaning depends on color alone."""

from __future__ import annotations

import html
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.notebook.display.card import badge

__all__ = ["CSS", "ErrorText", "alert", "escape", "link", "log_lines", "progress_bar", "table"]

escape = html.escape

CSS = """\
.mlmgmt {
  --mlmgmt-text: var(--jp-ui-font-color1, var(--vscode-editor-foreground, var(--colab-primary-text-color, inherit)));
  --mlmgmt-faint: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #6e7781));
  --mlmgmt-line: var(--jp-border-color2, var(--vscode-panel-border, rgba(128, 128, 128, .35)));
  --mlmgmt-field: var(--jp-layout-color1, var(--vscode-editor-background, var(--colab-primary-surface-color, #fff)));
  --mlmgmt-hover: var(--jp-layout-color2, var(--vscode-list-hoverBackground, rgba(128, 128, 128, .12)));
  --mlmgmt-accent: var(--jp-brand-color1, var(--vscode-focusBorder, #0969da));
  --mlmgmt-wrong: var(--jp-error-color1, var(--vscode-errorForeground, #c62828));
  --mlmgmt-mono: var(--jp-code-font-family, var(--vscode-editor-font-family, monospace));
  color: var(--mlmgmt-text);
  font-size: var(--jp-ui-font-size1, 13px);
  line-height: 1.5;
}
.mlmgmt-alert { border-left: 3px solid var(--mlmgmt-wrong); padding: 0 .7em; margin: 4px 0; }
.mlmgmt-alert b { color: var(--mlmgmt-wrong); }
.mlmgmt a { color: var(--mlmgmt-accent); overflow-wrap: anywhere; }
.mlmgmt.mlmgmt table { border-collapse: collapse; margin: 4px 0; }
.mlmgmt.mlmgmt th, .mlmgmt.mlmgmt td {
  text-align: left; padding: 2px 1em 2px 0; border: 0; border-bottom: 1px solid var(--mlmgmt-line); max-width: none;
}
@media (max-width: 760px) { .jp-OutputArea-output .mlmgmt:not(.mlmgmt *) { padding-left: 8px; } }
"""
"""Colors and fonts from the theme of JupyterLab, VS Code or Colab, light or dark, for elements of class `mlmgmt`.

At this width, JupyterLab has no margin between an output and the bar at the left of its cell.
"""


class ErrorText(NamedTuple):
    """The two lines of an error in a panel, as plain text: what happened, and the fix."""

    what: str
    fix: str

    @classmethod
    def of(cls, error: BaseException) -> ErrorText:
        """Return the lines of an error."""
        if isinstance(error, MlmgmtError):
            first, *rest = error.message.splitlines() or [type(error).__name__]
            return cls(first, error.fix or " ".join(line.strip() for line in rest))
        return cls(f"{type(error).__name__}: {error}", "This is a bug in mlmgmt-nb; see the kernel log.")


def alert(error: ErrorText) -> str:
    """Return an error as HTML; a screen reader announces it when it appears."""
    fix = "".join(f"<br>{escape(line)}" for line in error.fix.splitlines())
    return f'<div role="alert" class="mlmgmt-alert"><b>{escape(error.what)}</b>{fix}</div>'


def progress_bar(label: str, part: float | None) -> str:
    """Return a progress bar as HTML. The ipywidgets progress bar has neither an ARIA role nor a text.

    Args:
        label: the activity, for screen readers.
        part: the completed fraction, from 0 to 1; None if unknown.
    """
    width = 0.0 if part is None else min(max(part, 0.0), 1.0) * 100
    now = "" if part is None else f' aria-valuemin="0" aria-valuemax="100" aria-valuenow="{width:.0f}"'
    return (
        f'<div role="progressbar" aria-label="{escape(label)}"{now}'
        ' style="height:4px;max-width:40em;margin:4px 0;background:rgba(128,128,128,.3)">'
        f'<div style="width:{width:.0f}%;height:100%;background:#0969da"></div></div>'
    )


def log_lines(lines: Sequence[str]) -> str:
    """Return the lines of a log as HTML; "" if there are none."""
    if not lines:
        return ""
    style = "max-height:24em;overflow:auto;margin:4px 0;opacity:.8"
    return f'<pre style="{style}">{escape(chr(10).join(lines))}</pre>'


def link(url: str, text: str | None = None) -> str:
    """Return a link that opens in a new tab; only its text if the URL is not an HTTP URL."""
    shown = escape(url if text is None else text)
    if not url.startswith(("http://", "https://")):
        return shown
    return f'<a href="{escape(url)}" target="_blank" rel="noopener">{shown}</a>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, label: str, states: Container[int] = frozenset()
) -> str:
    """Return an HTML table of plain text.

    Args:
        head: the titles of its columns.
        rows: the texts of each row.
        label: its content, for screen readers.
        states: indexes of the columns that contain states.
    """
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join(
        f"<tr>{''.join(_cell(cell, place in states) for place, cell in enumerate(row))}</tr>" for row in rows
    )
    return f'<table aria-label="{escape(label)}"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'


def _cell(text: str, is_state: bool) -> str:
    return f"<td>{badge(text) if is_state and text else escape(text)}</td>"
