"""The notebook of the gate, run by papermill as a pipeline would, with a model that must not pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from mlmgmt_nb import connect, local
from tests.support.searches import long_search

if TYPE_CHECKING:
    import nbformat

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05-scoring-test-as-gate.ipynb"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    local.stop(tmp_path / "home")


@long_search
@pytest.mark.timeout(600)
def test_a_worse_model_does_not_get_into_production(home: Path, tmp_path: Path) -> None:
    import nbformat

    own = {"MLMGMT_HOME": str(home), "IPYTHONDIR": str(tmp_path / "ipython")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLMGMT_")} | own
    given = ("-p", "trees", "1", "-p", "junit", "report.xml")
    command = (sys.executable, "-m", "papermill", str(NOTEBOOK), "gate.ipynb", *given, "-k", "python3")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)

    assert done.returncode == 1, done.stderr
    assert "ScoringTestFailed" in done.stderr
    assert "requests have a wrong answer or none" in done.stderr
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert suite.get("tests") == "143"
    assert int(suite.get("failures", "0")) > 0
    assert suite.get("errors") == "0"
    gate, after = _gate_and_after(nbformat.read(tmp_path / "gate.ipynb", as_version=4))  # type: ignore[no-untyped-call]
    assert [output.ename for output in gate.outputs] == ["ScoringTestFailed"]
    assert {cell.execution_count for cell in after} == {None}
    with connect(home=home) as workspace:
        (production,) = workspace.services.list()
        assert production.name == "tumors"
        assert production.models is not None
        assert [model.version for model in production.models] == [1]


def _gate_and_after(notebook: nbformat.NotebookNode) -> tuple[nbformat.NotebookNode, list[nbformat.NotebookNode]]:
    """Return the cell with the gate, and the cells of code after it."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (place,) = (number for number, cell in enumerate(cells) if "assert_ok" in cell.source)
    return cells[place], cells[place + 1 :]
