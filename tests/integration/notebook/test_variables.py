"""Environment variables and secrets in cells: no output has the value of a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.notebook.conftest import Notebook

DRIVER = "import json, os\n\ndef run(body):\n    return {name: os.environ.get(name) for name in json.loads(body)}\n"
SECRET = "hunter2-and-more"


def test_in_cells(notebook: Notebook, environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (environment / "env.py").write_text(DRIVER)
    monkeypatch.setenv("TOKEN_HERE", SECRET)
    notebook.run("import os; more = {'B': '2'}; tokens = {'OTHER': os.environ['TOKEN_HERE']}")
    line = "%mlmgmt service create -n env-nb -f env.py -r python --env A=1 --env $more"
    cells = [
        notebook.run(f"service = {line} --secret TOKEN=env:TOKEN_HERE --secret {{tokens}}"),
        notebook.run("service"),
        notebook.run("%mlmgmt service show -n env-nb"),
        notebook.run("%mlmgmt service list"),
        notebook.run("%mlmgmt service panel -n env-nb"),
        notebook.run("%mlmgmt service update -n env-nb --env A=one --secret TOKEN=env:TOKEN_HERE"),
        notebook.attempt(f"{line} --secret TOKEN={SECRET}"),
        notebook.attempt("%mlmgmt service update -n env-nb --secret PATH=env:TOKEN_HERE"),
    ]
    service = notebook.shell.user_ns["service"].result()
    assert (service.environment, service.secrets) == ({"A": "one", "B": "2"}, ["OTHER", "TOKEN"])
    for cell in cells:
        shown = [cell.out, repr(cell.result), *(json.dumps(out.data) for out in cell.outputs), str(cell.error or "")]
        assert SECRET not in "".join(shown)
    assert "OTHER, TOKEN" in notebook.shown(service)
    assert "A=one, B=2" in notebook.shown(service, "text/html")
    assert [type(cell.error).__name__ for cell in cells if cell.error] == ["UsageError", "UsageError"]
    said = notebook.run("%mlmgmt service run -n env-nb -d {['A', 'B', 'TOKEN', 'OTHER']}").result
    assert said == {"A": "one", "B": "2", "TOKEN": SECRET, "OTHER": SECRET}
