"""Scoring tests as one watches them: in JupyterLab with the versions of its kernel, under Voila, and in a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Locator

from tests.acceptance.panels.canaries import found_in
from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import DEADLINE, eventually

DRIVER = """\
import json

def init():
    pass

def run(body):
    (given,) = json.loads(body)
    return given["a"] + given["b"] if given["a"] != 13 else "<b>thirteen</b>"
"""
SETUP = f"""\
%load_ext mlmgmt_nb
from pathlib import Path
import pandas as pd
from mlmgmt_nb import connect
Path("adds.py").write_text({DRIVER!r})
ws = connect()
if ws.services.find("adds") is None:
    service = ws.deploy("adds", driver="adds.py")
right = pd.DataFrame({{"a": range(10), "b": range(10), "sum": range(0, 20, 2)}})
wrong = pd.DataFrame({{"a": range(20), "b": 0, "sum": range(20)}})
"""
BACKGROUND = "test = %mlmgmt service test -n adds --cases wrong --expect sum --duration 600 --rate 200 --no-wait"
CELLS = [
    "report = %mlmgmt service test -n adds --cases right --expect sum --duration 600 --rate 200 --concurrency 2",
    "print(report.partial, report.summary['failed'], len(report.results) == report.summary['passed'] > 50)",
    BACKGROUND,
    "import time\nwhile not release.exists():\n    time.sleep(0.1)",
    "print(test.done(), test.result().partial)",
]


def test_a_test_is_watched_and_stopped(open_notebook: Callable[..., Notebook], kernel_name: str) -> None:
    setup = f"{SETUP}release = Path('release-test-{kernel_name}')\n"
    notebook = open_notebook([setup, *CELLS], kernel=kernel_name)
    notebook.run(0)
    # While its cell runs.
    notebook.run(1, wait=False)
    notebook.wait_to_see(1, "Scoring test of adds Running")
    panel = notebook.outputs(1)
    bar = panel.get_by_role("progressbar", name="requests sent")
    _moves(panel)
    assert 0 <= int(bar.get_attribute("aria-valuenow") or "") < 100
    panel.get_by_role("img", name="Latencies from").wait_for()
    panel.get_by_role("img", name="Requests per second").wait_for()
    assert notebook.is_running(1)
    notebook.screenshot(f"scoring-test-running-{kernel_name}", 1)
    panel.get_by_role("button", name="Stop").click()
    notebook.wait_for_end(1)
    seen = notebook.wait_to_see(1, "Passed stopped before its end")
    assert "Running" not in seen
    notebook.run(2)
    notebook.wait_to_see(2, "True 0 True")
    # After its cell has ended, and while another one runs.
    notebook.run(3)
    notebook.wait_to_see(3, " failure")
    panel = notebook.outputs(3)
    panel.get_by_role("cell", name='"<b>thirteen</b>"').wait_for()
    notebook.run(4, wait=False)
    _moves(panel)
    assert notebook.is_running(4)
    (notebook.lab.work / f"release-test-{kernel_name}").touch()
    notebook.wait_for_end(4)
    panel.get_by_role("button", name="Stop").press("Enter")
    notebook.wait_to_see(3, "Failed stopped before its end")
    notebook.run(5)
    notebook.wait_to_see(5, "True True")
    notebook.screenshot(f"scoring-test-ended-{kernel_name}", 3)
    saved = notebook.save(widgets=True)
    assert "Scoring test of adds" in str(saved["metadata"]["widgets"])
    assert found_in(saved, notebook.lab, "adds") == []
    assert "<b>thirteen</b>" not in str(saved["cells"][3]["outputs"][0]["data"]["text/html"])
    notebook.restart_kernel()
    _has_pictures(notebook)
    notebook.reopen_without_kernel()
    _has_pictures(notebook)
    _keeps_charts_where_it_is_not_trusted(notebook)
    assert notebook.errors == []


def _moves(panel: Locator) -> None:
    """Wait until the panel shows more requests than before."""
    bar = panel.get_by_role("progressbar", name="requests sent")
    before = bar.get_attribute("aria-valuetext")
    eventually(lambda: bar.get_attribute("aria-valuetext") != before, DEADLINE)


def _has_pictures(notebook: Notebook) -> None:
    """Check that the pictures are shown when no kernel drives the panels."""
    assert "widget" not in notebook.wait_to_see(1, "Passed stopped before its end").lower()
    assert "Stop" not in notebook.wait_to_see(3, "thirteen")


def _keeps_charts_where_it_is_not_trusted(notebook: Notebook) -> None:
    """As when it was made by somebody else."""
    written = json.loads(notebook.path.read_text())
    written["cells"][0]["source"] = "# another one"
    notebook.path.write_text(json.dumps(written))
    notebook.reopen_without_kernel()
    _has_pictures(notebook)
    assert not notebook.page.evaluate("window.jupyterapp.shell.currentWidget.content.model.cells.get(1).trusted")
    for chart in ("Latencies from", "Requests per second", "Latency over time: p50"):
        image = notebook.outputs(1).get_by_role("img", name=chart)
        image.wait_for()
        eventually(lambda image=image: image.evaluate("image => image.naturalWidth"), DEADLINE)  # type: ignore[misc]
    notebook.screenshot("scoring-test-not-trusted", 1)


def test_a_test_in_the_dark_that_is_interrupted(open_notebook: Callable[..., Notebook]) -> None:
    cell = f"{BACKGROUND.replace(' --no-wait', '').replace('test =', 'report =')}"
    notebook = open_notebook([SETUP, cell, "print(report.partial, report.summary['failed'] > 0)"], theme="dark")
    notebook.run(0)
    notebook.run(1, wait=False)
    notebook.wait_to_see(1, " failure")
    notebook.screenshot("scoring-test-dark", 1)
    notebook.interrupt()
    notebook.wait_for_end(1)
    notebook.wait_to_see(1, "Failed stopped before its end")
    notebook.run(2)
    notebook.wait_to_see(2, "True True")


def test_a_test_under_voila(lab: Lab, voila: Voila, browser: Browser) -> None:
    shown = "from mlmgmt_nb.notebook.panels import ScoringTestPanel\nScoringTestPanel(ws.services.scoring_test({}))"
    cells = [SETUP, shown.format('"adds", right, expect="sum", duration=600.0, rate=100.0')]
    page = voila.open(browser, lab.write("scoring-test-in-voila", cells))
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("stopped before its end").wait_for()
    page.get_by_role("img", name="Latencies from").wait_for()
    page.context.close()


def test_a_test_in_a_terminal(lab: Lab, tmp_path: Path) -> None:
    lines = [*SETUP.splitlines(), "%mlmgmt service test -n adds --cases right --expect sum --duration 1 --rate 100"]
    script = tmp_path / "lines.ipy"
    script.write_text("\n".join(lines))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--colors=NoColor", "-c", f"%run {script}"]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=lab.environment, cwd=lab.work)
    os.close(slave)
    seen = "".join(_read(master))
    assert process.wait(60) == 0, seen
    moves = seen.split("\033[K")
    assert len(moves) >= 3, seen
    assert "\rscoring test of adds, running:" in moves[0]
    assert "ended: 100 requests, 100 passed, 0 failed, 0 errored" in moves[-2]


def _read(master: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # its other end is closed
        while content := os.read(master, 4096):
            yield content.decode()
    os.close(master)
