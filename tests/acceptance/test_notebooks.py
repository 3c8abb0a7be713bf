"""The tutorial notebooks: they run as they stand, twice in a row, and what they show is what is committed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from mlmgmt_nb import connect, local

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RULES = ROOT / "tests" / "nbval.cfg"

# A path of the machine that ran it, and what keys and tokens look like.
PRIVATE = re.compile(
    r"""(?<![\w./:])/(?:home|root|tmp|work|usr|var|Users|opt)/|file:///|Bearer \S|\b[A-Za-z0-9_-]{32,}\b"""
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    local.stop(tmp_path / "home")


def _run(home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLMGMT_")},
        "MLMGMT_HOME": str(home),
        "IPYTHONDIR": str(home.with_name("ipython")),
    }
    options = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(RULES), "--nbval-cell-timeout", "300")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder))
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.timeout(1300)
def test_they_run_twice_in_a_row_show_what_is_committed_and_clean_up(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for notebook in NOTEBOOKS:
        shutil.copy(notebook, folder)
    assert NOTEBOOKS
    for _ in range(2):
        done = _run(home, folder)
        assert done.returncode == 0, done.stdout + done.stderr
        left = {path.name for path in folder.iterdir()} - {"__pycache__"}
        assert left == {notebook.name for notebook in NOTEBOOKS}
        assert list(connect(home=home).services.list()) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_have_outputs_and_nothing_private(notebook: Path) -> None:
    cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    assert any(cell.get("outputs") for cell in cells)
    for cell in cells:
        for text in (cell.source, *_texts(cell.get("outputs", []))):
            assert not (found := PRIVATE.search(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text))), (
                found
            )


def _texts(outputs: list[nbformat.NotebookNode]) -> Iterator[str]:
    for output in outputs:
        assert output.output_type != "error", output
        yield output.get("text", "")
        yield from (str(value) for value in output.get("data", {}).values())
