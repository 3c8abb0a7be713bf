"""How panels are displayed: alive as widgets, and as pictures wherever no kernel drives them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import eventually

COUNTER = """\
import threading, ipywidgets
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.errors import UsageError

class Counter(Panel):
    number = 0

    def text(self):
        return f"counted to {self.number}"

    def html(self):
        return f"<p>picture: {self.text()}</p>"

    def build(self):
        self.label = ipywidgets.Label()
        add, fail = ipywidgets.Button(description="Add"), ipywidgets.Button(description="Fail")
        add.on_click(lambda _: self.do(self.add))
        fail.on_click(lambda _: self.do(self.refuse))
        return ipywidgets.HBox([self.label, add, fail])

    def draw(self):
        self.label.value = f"widget: {self.text()}"

    def add(self):
        with self.lock:
            self.number += 1
        self.changed()

    def refuse(self):
        raise UsageError("it is <b>wrong</b>", fix="Do it right.")

counter = Counter()
counter
"""
BUSY = """\
import time
deadline = time.monotonic() + 60
def count():
    for _ in range(2000):
        counter.add()
threading.Thread(target=count).start()
while counter.number < 2000 or not release.exists():
    time.sleep(0.05)  # between two looks
    assert time.monotonic() < deadline
"""


def test_a_panel_lives_and_leaves_its_picture(open_notebook: Callable[..., Notebook], kernel_name: str) -> None:
    release = "import pathlib; release = pathlib.Path('release-display-' + " + repr(kernel_name) + ")"
    notebook = open_notebook([COUNTER, f"{release}\n{BUSY}", "counter.close()"], kernel=kernel_name)
    notebook.run(0)
    seen = notebook.wait_to_see(0, "widget: counted to 0")
    assert "picture:" not in seen
    assert "As of" not in seen
    notebook.outputs(0).get_by_role("button", name="Add").click()
    notebook.wait_to_see(0, "widget: counted to 1")
    notebook.outputs(0).get_by_role("button", name="Fail").press("Enter")
    seen = notebook.wait_to_see(0, "it is <b>wrong</b>")
    assert "Do it right." in seen
    # It moves while a cell runs, and the last of many changes arrives.
    notebook.run(1, wait=False)
    notebook.wait_to_see(0, "widget: counted to 2001")
    assert notebook.is_running(1)
    (notebook.lab.work / f"release-display-{kernel_name}").touch()
    notebook.wait_for_end(1)
    notebook.screenshot(f"display-alive-{kernel_name}", 0)
    # A kernel that has gone leaves the picture.
    eventually(lambda: "picture: counted to 2001" in str(notebook.save()["cells"][0]["outputs"]))
    notebook.restart_kernel()
    seen = notebook.wait_to_see(0, "picture: counted to 2001")
    assert "widget:" not in seen
    assert re.search(r"As of .{19} UTC\. Run the cell again for the panel\.", seen)
    notebook.screenshot(f"display-restarted-{kernel_name}", 0)
    for kernel in (True, False):
        notebook.load(kernel=kernel)
        seen = notebook.wait_to_see(0, "picture: counted to 2001")
        assert "widget" not in seen.lower(), seen
        notebook.screenshot(f"display-reopened-{kernel}-{kernel_name}", 0)


def test_a_panel_that_is_closed_is_its_picture(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([COUNTER, "counter.close()\ncounter.close()"])
    notebook.run_all()
    seen = notebook.wait_to_see(0, "picture: counted to 0")
    assert "widget" not in seen.lower()
    saved = notebook.save(widgets=True)
    assert [set(output["data"]) for output in saved["cells"][0]["outputs"]] == [
        {"text/html", "text/plain"},
        {"text/plain"},
    ]
    notebook.screenshot("display-closed", 0)


def test_the_state_of_widgets_that_is_saved_does_not_hide_the_picture(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([COUNTER])
    notebook.run(0)
    notebook.wait_to_see(0, "widget: counted to 0")
    saved = notebook.save(widgets=True)
    assert "widget: counted to 0" in str(saved["metadata"]["widgets"])
    notebook.load(kernel=False)
    seen = notebook.wait_to_see(0, "picture: counted to 0")
    assert "widget" not in seen.lower(), seen


def test_a_panel_under_voila(lab: Lab, voila: Voila, browser: Browser) -> None:
    page = voila.open(browser, lab.write("counter-in-voila", [COUNTER]))
    page.get_by_text("widget: counted to 0").wait_for()
    assert not page.get_by_text("picture:").is_visible()
    page.get_by_role("button", name="Add").click()
    page.get_by_text("widget: counted to 1").wait_for()
    page.context.close()


def test_a_panel_as_a_page(lab: Lab, browser: Browser, tmp_path: Path) -> None:
    """nbconvert runs the notebook and stores the state of the widgets, which nobody is there to drive."""
    notebook = lab.write("counter-as-a-page", [COUNTER, "counter.add()"])
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "--output-dir", str(tmp_path)]
    subprocess.run([*command, str(notebook)], check=True, env=lab.environment, capture_output=True)
    page = browser.new_page()
    page.goto((tmp_path / "counter-as-a-page.html").as_uri(), wait_until="domcontentloaded")
    page.get_by_text("picture: counted to 1").wait_for()
    page.close()
