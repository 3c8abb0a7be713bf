"""The scripts and styles of panels: what every front end allows, VS Code and Colab included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mlmgmt_nb.notebook.panels

FOLDER = Path(mlmgmt_nb.notebook.panels.__file__).parent
SCRIPTS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js"))
STYLES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.css"))
FORBIDDEN = (
    "localStorage",  # outputs of VS Code and Colab have an origin of their own, or none
    "sessionStorage",
    "document.cookie",
    "indexedDB",
    "fetch(",  # content security policies, and a kernel elsewhere
    "XMLHttpRequest",
    "import(",
    "import ",
    "eval(",
    "new Function",
    "jupyterapp",  # of JupyterLab only
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_use_nothing_that_a_front_end_may_lack(name: str) -> None:
    code = re.sub(r"^\s*(//|/?\*).*$", "", (FOLDER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not [word for word in FORBIDDEN if word in code]


@pytest.mark.parametrize("name", STYLES)
def test_what_moves_stands_still_if_the_user_prefers_it(name: str) -> None:
    style = (FOLDER / name).read_text(encoding="utf-8")
    if re.search(r"\b(transition|animation)\s*:", style):
        assert "@media (prefers-reduced-motion: reduce)" in style
    assert "@import" not in style
    assert "url(" not in style
