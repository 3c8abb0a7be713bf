"""`OperationPanel` in a real JupyterLab: while its cell runs, after an interrupt, after the end, without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Locator, expect

from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import DEADLINE, eventually

WAITS = """\
import pathlib, time

def init():
    print('weights <b> are loading', flush=True)
    while not pathlib.Path({release!r}).exists():
        time.sleep(0.05)  # between two looks

def run(body):
    return 1
"""
FAILS = """\
def load():
    raise ValueError('no <i>weights</i>')

def init():
    load()

def run(body):
    return 1
"""
LOAD = "%load_ext mlmgmt_nb"
THREADS = "import threading\nprint(sorted(t.name for t in threading.enumerate() if t.name.startswith('mlmgmt')))"


def driver(work: Path, name: str) -> Path:
    """Write a driver that is ready when a file is there; return the path of the file."""
    release = work / f"{name}-released"
    (work / f"{name}.py").write_text(WAITS.format(release=str(release)))
    (work / "model.bin").write_text("m")
    return release


def bar(outputs: Locator) -> Locator:
    return outputs.get_by_role("progressbar")


def test_an_operation(open_notebook: Callable[..., Notebook], work: Path, kernel_name: str) -> None:
    name = kernel_name.replace(".", "-")
    release = driver(work, name)
    create = f"%mlmgmt service create -n {name} -m model.bin -f {name}.py --replicas 2"
    more = f"for _ in range(3):\n    %mlmgmt image create -n {name} --manifest-id {{manifest}} --no-wait\n"
    cells = [LOAD, create, THREADS, f"services = %mlmgmt service list -n {name}\nmanifest = {name!r}\n{more}", THREADS]
    notebook = open_notebook(cells, kernel=kernel_name)
    notebook.run(0)
    # While its cell runs.
    notebook.run(1, wait=False)
    panel = notebook.outputs(1)
    expect(bar(panel)).to_have_attribute("aria-label", "replicas ready 0/2")
    expect(bar(panel)).to_have_attribute("aria-valuenow", "0")
    expect(panel.get_by_role("status")).to_contain_text("Running service, ")
    expect(panel.locator(".mlmgmt pre")).to_contain_text("weights <b> are loading")
    assert notebook.is_running(1)
    notebook.screenshot(f"operation-{name}", 1)
    # An interrupt ends the waiting, and nothing else.
    notebook.interrupt()
    notebook.wait_to_see(1, "KeyboardInterrupt: the cell was interrupted")
    expect(panel.get_by_role("status")).to_contain_text("wait for it with `")
    notebook.run(2)
    assert "'mlmgmt-panels', 'mlmgmt-poller'" in notebook.seen(2)
    # It moves after its cell has ended, to its end.
    release.touch()
    expect(panel.get_by_role("status")).to_contain_text("Succeeded service, ")
    expect(panel.get_by_role("link", name=f"service {name}")).to_be_visible()
    expect(bar(panel)).to_have_count(0)
    # Several share a thread; they need no cell that runs, and threads end with them.
    notebook.run(3)
    expect(notebook.outputs(3).get_by_text("Succeeded image")).to_have_count(3)
    eventually(lambda: _no_threads(notebook), DEADLINE, "the end of the threads")
    # Without a kernel it is what it was.
    eventually(lambda: "Succeeded" in str(notebook.save()["cells"][1]["outputs"]), DEADLINE)
    notebook.restart_kernel()
    assert "Succeeded" in notebook.seen(1)
    notebook.reopen_without_kernel()
    notebook.wait_to_see(1, "Succeeded")
    panel = notebook.outputs(1)
    assert not panel.get_by_text("weights <b> are loading").first.is_visible()
    panel.get_by_text("log", exact=True).press("Enter")
    expect(panel.get_by_text("weights <b> are loading").first).to_be_visible()
    assert not notebook.errors


def _no_threads(notebook: Notebook) -> bool:
    notebook.run(4)
    return "[]" in notebook.seen(4)


def test_a_failure_shows_the_traceback_of_the_driver(open_notebook: Callable[..., Notebook], work: Path) -> None:
    (work / "fails.py").write_text(FAILS)
    (work / "model.bin").write_text("m")
    notebook = open_notebook([LOAD, "%mlmgmt service create -n fails -m model.bin -f fails.py"], theme="dark")
    notebook.run(0)
    notebook.run(1)
    panel = notebook.outputs(1)
    expect(panel.get_by_role("alert")).to_contain_text("ValueError: no <i>weights</i> (fails.py:2)")
    traceback = panel.get_by_text("in load")
    assert not traceback.first.is_visible()
    panel.get_by_text("driver's traceback").focus()
    notebook.page.keyboard.press("Enter")
    expect(traceback.first).to_be_visible()
    notebook.screenshot("operation-failed-dark", 1)
    notebook.save()
    notebook.reopen_without_kernel()
    notebook.outputs(1).get_by_text("driver's traceback").click()
    expect(notebook.outputs(1).get_by_text("in load").first).to_be_visible()


def test_an_operation_under_voila(lab: Lab, voila: Voila, browser: Browser) -> None:
    # Voila shows a page when its cells have ended, and changes only widgets from then on.
    release = driver(lab.work, "in-voila")
    show = "%mlmgmt service create -n in-voila -m model.bin -f in-voila.py --no-wait"
    page = voila.open(browser, lab.write("operation-in-voila", [LOAD, show]))
    expect(page.get_by_role("progressbar", name="replicas ready 0/1")).to_be_visible()
    release.touch()
    expect(page.get_by_role("status")).to_contain_text("Succeeded service")
    page.context.close()
