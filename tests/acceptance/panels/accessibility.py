"""axe-core on outputs of cells: its violations, and what it could not decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axe_playwright_python.sync_playwright import Axe

from tests.acceptance.panels.lab import Notebook
from tests.support.searches import IN_CI

__all__ = ["THEMES", "problems"]

THEMES = ("light", "dark") if IN_CI else ("light",)
"""Those in which each part of a panel is checked."""

_OPTIONS = {"resultTypes": ["violations", "incomplete"]}
_OUTPUTS = ".jp-Notebook .jp-Cell:nth-child({}) .jp-Cell-outputArea"


def problems(notebook: Notebook, number: int) -> list[str]:
    """Return what axe-core finds in the outputs of a cell, a line each: the rule, the elements and the reason."""
    found = Axe().run(notebook.page, [_OUTPUTS.format(number + 1)], _OPTIONS).response
    return [*_lines("violation", found["violations"]), *_lines("incomplete", found["incomplete"])]


def _lines(kind: str, rules: list[Any]) -> Iterator[str]:
    for rule in rules:
        for node in rule["nodes"]:
            reasons = [check["message"] for part in ("any", "all", "none") for check in node[part]]
            yield f"{kind} {rule['id']}: {node['html'][:160]} ({'; '.join(reasons)[:300]})"
