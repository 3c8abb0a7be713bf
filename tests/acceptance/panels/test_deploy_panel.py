"""The form of a deployment in JupyterLab and Voila: by mouse and keyboard, from an empty form to a service."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from mlmgmt_nb.client import Workspace, connect
from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import DEADLINE, eventually

OPEN = "%load_ext mlmgmt_nb\n%mlmgmt service form"
BUSY = """\
import pathlib, time
release, deadline = pathlib.Path("release-{name}"), time.monotonic() + 120
while not release.exists() and time.monotonic() < deadline:
    time.sleep(0.02)  # between two looks
"""
DRIVER = """\
import json

def init():
    global model
    with open("form-model.bin") as file:
        model = file.read()

def run(body):
    return [model, json.loads(body)]
"""


@pytest.fixture(scope="module")
def ws(lab: Lab) -> Iterator[Workspace]:
    with connect(home=lab.environment["MLMGMT_HOME"]) as ws:
        yield ws


@pytest.fixture(autouse=True)
def files(work: Path) -> None:
    (work / "form-score.py").write_text(DRIVER)
    (work / "form-model.bin").write_text("m")


def test_a_form_becomes_a_service(
    open_notebook: Callable[..., Notebook], ws: Workspace, kernel_name: str, work: Path
) -> None:
    name = f"form-{kernel_name.rpartition('-')[2]}"
    notebook = open_notebook([OPEN, BUSY.format(name=name)], kernel=kernel_name)
    notebook.run(0)
    panel, keyboard = notebook.outputs(0), notebook.page.keyboard
    field = panel.get_by_label("Service name")
    field.wait_for()
    # The contract's limits are told while one types, even while a cell runs.
    notebook.run(1, wait=False)
    field.click()
    keyboard.type("Iris")
    notebook.wait_to_see(0, "Enter a name of 3 to 32 characters")
    assert field.get_attribute("aria-invalid") == "true"
    assert notebook.is_running(1)
    (work / f"release-{name}").touch()
    notebook.wait_for_end(1)
    # By keyboard: what is missing is told, and the first wrong field is gone to.
    field.fill(name)
    field.press("Enter")
    notebook.wait_to_see(0, "1 field needs correction.")
    driver = panel.get_by_label("Driver", exact=True)
    assert driver.evaluate("input => input === document.activeElement")
    keyboard.type("form-scorer.py")
    notebook.wait_to_see(0, "File not found: form-scorer.py.")
    driver.fill("form-score.py")
    eventually(lambda: driver.get_attribute("aria-invalid") == "false", DEADLINE, "the end of the complaint")
    # The check finds that the model is not there; the form helps to add it.
    panel.get_by_role("button", name="Check the driver").click()
    panel.get_by_role("alert").filter(has_text="FileNotFoundError").wait_for()
    panel.get_by_role("button", name="Add form-model.bin").click()
    panel.get_by_role("button", name="Check the driver").click()
    notebook.wait_to_see(0, "form-score.py: run(body), init loaded and checked in")
    panel.get_by_role("button", name="Show code").click()
    code = panel.get_by_label("Notebook cell", exact=True)
    eventually(lambda: f"service create -n {name} -m form-model.bin" in code.inner_text(), DEADLINE, "the code")
    notebook.screenshot(f"deploy-code-{kernel_name}", 0)
    panel.get_by_role("button", name="Hide code").press("Enter")
    panel.get_by_role("button", name="Deploy").press("Enter")
    notebook.wait_to_see(0, f"{name} is running at")
    steps = panel.get_by_role("list", name="steps").inner_text()
    assert re.findall(r"(\w+) done,", steps) == ["model", "manifest", "image", "service"]
    assert ws.services.run(name, [1]) == ["m", [1]]
    notebook.screenshot(f"deploy-done-{kernel_name}", 0)
    # What is left when the kernel is gone.
    picture = eventually(lambda: _complete(notebook), DEADLINE, "the picture")
    assert f"/{name}/score" in picture
    for left in (notebook.restart_kernel, notebook.reopen_without_kernel):
        left()
        seen = notebook.wait_to_see(0, "service done")
        assert "form-model.bin" in seen
        assert "Hide code" not in seen
        assert "Show code" not in seen
    assert notebook.errors == []
    ws.services.delete(name)


def _complete(notebook: Notebook) -> str | None:
    """Return the saved picture, once it has the end of the deployment. It follows the panel within a second."""
    saved = json.dumps(notebook.save()["cells"][0]["outputs"])
    return saved if "<b>service</b> done" in saved else None


def test_a_deployment_that_fails_says_why(open_notebook: Callable[..., Notebook], ws: Workspace, work: Path) -> None:
    (work / "form-bad.py").write_text("def run(body:\n    return '<b>'\n")
    cell = f"{OPEN} -n form-bad -f form-bad.py"
    notebook = open_notebook([cell], theme="dark")
    notebook.run(0)
    panel = notebook.outputs(0)
    panel.get_by_label("Number of replicas").select_option("autoscaled")
    panel.get_by_label("Minimum replicas").fill("3")
    panel.get_by_label("Maximum replicas").fill("2")
    notebook.wait_to_see(0, "Enter at least 3, the minimum number of replicas.")
    notebook.screenshot("deploy-wrong-dark", 0)
    panel.get_by_label("Maximum replicas").fill("4")
    panel.get_by_role("button", name="Deploy").click()
    panel.get_by_role("alert").filter(has_text="SyntaxError").first.wait_for()
    expect(panel.get_by_role("list", name="steps")).to_contain_text("failed", timeout=DEADLINE * 1000)
    # It can be put right and tried again in the same form.
    (work / "form-bad.py").write_text("def run(body):\n    return '<b>'\n")
    eventually(lambda: panel.get_by_role("button", name="Deploy").is_enabled(), DEADLINE, "the form")
    panel.get_by_role("button", name="Deploy").click()
    notebook.wait_to_see(0, "form-bad is running at")
    scaler = ws.services.get("form-bad").auto_scaler
    assert scaler is not None
    assert (scaler.min_replicas, scaler.max_replicas) == (3, 4)
    notebook.screenshot("deploy-done-dark", 0)
    ws.services.delete("form-bad")


def test_a_form_under_voila(lab: Lab, voila: Voila, browser: Browser) -> None:
    page = voila.open(browser, lab.write("form-in-voila", [f"{OPEN} -n form-voila -f form-score.py"]))
    page.get_by_label("Service name").fill("-")
    page.get_by_text("Enter a name of 3 to 32 characters").wait_for()
    assert page.get_by_label("Driver", exact=True).input_value() == "form-score.py"
    page.context.close()
