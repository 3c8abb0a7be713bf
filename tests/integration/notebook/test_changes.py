"""Magics that change services with evidence, in a real IPython."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.errors import UsageError
from tests.integration.notebook.conftest import Notebook


def test_a_difference_in_a_cell(notebook: Notebook, environment: Path) -> None:
    notebook.run("%mlmgmt service create -n changed -m model.bin -f score.py -r python")
    driver = environment / "score.py"
    driver.write_text(driver.read_text() + "# <new>\n")
    found = notebook.run("%mlmgmt service diff -n changed -f score.py -m model.bin -z 2").result
    assert isinstance(found, Difference)
    assert [(change.kind, change.name) for change in found.changes] == [
        ("driver", "score.py"),
        ("setting", "num_replicas"),
    ]
    assert "+# <new>" in notebook.shown(found)
    assert "+# &lt;new&gt;" in notebook.shown(found, "text/html")
    printed = notebook.run("%mlmgmt service diff -n changed --against changed -o json").result
    assert json.loads(printed)["changes"] == []
    with pytest.raises(UsageError, match="cannot be combined"):
        raise notebook.attempt("%mlmgmt service diff -n changed --against changed -f score.py").error or AssertionError
