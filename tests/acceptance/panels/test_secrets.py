"""No secret is in a saved notebook: not in its outputs, and not in the state of its widgets.

The panels of a service, of a deployment and of scoring have such tests beside their own; these are for the rest, and
for the commands that show keys.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.acceptance.panels import canaries
from tests.acceptance.panels.lab import Lab, Notebook
from tests.support.waiting import DEADLINE

CELLS = [
    "%load_ext mlmgmt_nb\n%mlmgmt service create -n {name} -f {name}.py",
    "from mlmgmt_nb import connect\nfrom mlmgmt_nb.notebook.panels import *\nws = connect()",
    "OperationPanel(next(ws.operations.poller(id) for id in [next(iter(ws.operations.list())).id]))",
    "WorkspacePanel(ws)",
    "%mlmgmt service keys -n {name}",
    "%mlmgmt service keys -n {name} --show",
    "%mlmgmt service keys -n {name} --show -o json",
    "key = %mlmgmt service keys -n {name} --show --query primaryKey\nassert len(key) > 20\nkey",
    "keys = ws.services.keys({name!r})\nkeys",
    "%mlmgmt service show -n {name}",
    "%mlmgmt service usage -n {name}",
    "%mlmgmt whoami",
    "%mlmgmt config show",
    "%mlmgmt service keys -n nobody",
    "%mlmgmt last-error",
    "ws, ws.services",
]


def _cells(work: Path, name: str) -> list[str]:
    (work / f"{name}.py").write_text("def run(body):\n    return 1\n")
    return [cell.format(name=name) for cell in CELLS]


def test_what_jupyterlab_saves(open_notebook: Callable[..., Notebook], lab: Lab, work: Path) -> None:
    notebook = open_notebook(_cells(work, "guarded"))
    notebook.run_all()
    expect(notebook.outputs(3).get_by_role("tab").first).to_be_visible(timeout=DEADLINE * 1000)
    saved = notebook.save(widgets=True)
    assert saved["metadata"]["widgets"]
    assert "guarded" in str(saved)
    assert not canaries.found_in(saved, lab, "guarded")


def test_what_nbclient_saves(lab: Lab, work: Path) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[
            nbformat.v4.new_code_cell(cell)  # type: ignore[no-untyped-call]
            for cell in _cells(work, "guarded-too")
        ]
    )
    client = nbclient.NotebookClient(
        notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(work)}}
    )
    saved: Any = client.execute(env={**lab.environment})
    assert saved["metadata"]["widgets"]
    assert not canaries.found_in(saved, lab, "guarded-too")
