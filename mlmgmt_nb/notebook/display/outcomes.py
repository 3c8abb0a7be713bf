"""Displays of results that need more than a table of properties: usage, reports, differences and deployments."""

from __future__ import annotations

import html
from typing import Any

from mlmgmt_nb.charts import still
from mlmgmt_nb.notebook.display.card import bundle, html_cell

__all__ = ["ComparisonDisplay", "DeployedDisplay", "ReportDisplay", "UsageDisplay", "deployed_bundle"]

_REPORT_USES = "ScoringReport: .summary, .results, .failures, .assert_ok(), .to_html(), .to_junit()"


class UsageDisplay:
    """Instructions to call a service: its addresses, and a block of code for each kind of program."""

    def __init__(self, usage: Any) -> None:
        self._usage = usage

    def text(self) -> str:
        """Return the text for a terminal."""
        return str(self._usage)

    def html(self) -> str:
        """Return the HTML for a notebook."""
        from mlmgmt_nb.notebook.display.code import CODE_CSS, highlighted
        from mlmgmt_nb.notebook.display.html import CSS

        facts = "".join(f"<div>{label} {html_cell(value)}</div>" for label, value in self._usage.facts)
        note = f"<div>{html.escape(self._usage.note)}</div>" if self._usage.note else ""
        blocks = "".join(
            f'<b>{html.escape(block.title)}</b><pre class="mlmgmt-code">{highlighted(block.code, block.language)}</pre>'
            for block in self._usage.blocks
        )
        return f'<div class="mlmgmt"><style>{CSS}{CODE_CSS}</style>{facts}{note}{blocks}</div>'


class ReportDisplay:
    """A scoring report. If a panel of the cell already shows it, only its attributes are displayed."""

    def __init__(self, report: Any) -> None:
        from mlmgmt_nb.notebook.display.shown import is_shown_here

        self._report = report
        self._is_shown = is_shown_here(report)

    def text(self) -> str:
        """Return the text for a terminal."""
        return _REPORT_USES if self._is_shown else str(self._report)

    def html(self) -> str:
        """Return the HTML for a notebook."""
        return f"<code>{_REPORT_USES}</code>" if self._is_shown else self._report.to_html()


class ComparisonDisplay:
    """Differences between services, deployments, images or sources, drift of collected inputs, or a replay."""

    def __init__(self, comparison: Any) -> None:
        self._comparison = comparison

    def text(self) -> str:
        """Return the text for a terminal."""
        return str(self._comparison)

    def html(self) -> str:
        """Return the HTML for a notebook."""
        return still(self._comparison.to_html())


class DeployedDisplay:
    """A service whose answers were verified: the result, the URL, the next command, and the command for its usage."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def text(self) -> str:
        """Return the text for a terminal."""
        from mlmgmt_nb.commands.output.formats import deployed

        return deployed(self._service, "%mlmgmt")

    def html(self) -> str:
        """Return the HTML for a notebook."""
        (name, proof), (_, url), (hint, command) = self._service.lines
        lines = [
            f"<b>{html.escape(name)}</b> {html.escape(proof)}",
            html_cell(url),
            f"{hint} {html_cell(f'%mlmgmt {command}')}",
            f"call it from elsewhere {html_cell(f'%mlmgmt service usage -n {self._service.name}')}",
        ]
        return f"<div style='overflow-wrap:anywhere'>{'<br>'.join(lines)}</div>"


def deployed_bundle(service: Any) -> dict[str, str]:
    """Return the display of a `DeployedService`, whose answers were verified."""
    shown = DeployedDisplay(service)
    return bundle(shown.text(), shown.html())
