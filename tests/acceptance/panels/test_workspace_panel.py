"""`%mlmgmt` in a real JupyterLab: by mouse and keyboard, while cells run, and what is left without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from mlmgmt_nb.client import Workspace, connect
from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import DEADLINE, eventually

SHOW = "%load_ext mlmgmt_nb\npanel = %mlmgmt\npanel"
SELECTED = "print('selected:', type(panel.selected).__name__, panel.selected.name)"
BUSY = """\
import pathlib, time
from mlmgmt_nb import connect
connect().models.register("https://example.org/m.pkl", name={name!r})
deadline = time.monotonic() + 60
while not pathlib.Path({name!r}).exists() and time.monotonic() < deadline:
    time.sleep(0.05)  # between two looks
"""


@pytest.fixture(scope="module")
def ws(lab: Lab) -> Iterator[Workspace]:
    """Yield what is browsed: 60 models of one kind, and a service."""
    with connect(home=lab.environment["MLMGMT_HOME"]) as ws:
        for number in range(60):
            ws.models.register("https://example.org/m.pkl", name=f"many-{number}", tags=["many"], description="<b>bold")
        (lab.work / "score.py").write_text("def run(body): return 1\n")
        (lab.work / "model.bin").write_text("m")
        ws.deploy("browsed", model=lab.work / "model.bin", model_name="parent", driver=lab.work / "score.py")
        yield ws
        ws.services.delete("browsed")


def rows(outputs: Locator) -> Locator:
    return outputs.locator("tbody tr")


def test_browsing(open_notebook: Callable[..., Notebook], ws: Workspace, kernel_name: str) -> None:
    busy = f"while-running-{kernel_name}".replace(".", "-")
    notebook = open_notebook([SHOW, SELECTED, BUSY.format(name=busy)], kernel=kernel_name)
    notebook.run(0)
    panel = notebook.outputs(0)
    # By mouse: filter, turn the page, search, sort.
    panel.get_by_label("tag", exact=True).fill("many")
    expect(panel.get_by_role("status")).to_have_text("60 models, page 1 of 2")
    expect(rows(panel).first).to_contain_text("many-59")
    expect(rows(panel).first).to_contain_text("<b>bold")
    panel.get_by_role("button", name="page 2").click()
    expect(panel.get_by_role("status")).to_have_text("60 models, page 2 of 2")
    expect(panel.get_by_role("button", name="Next")).to_have_attribute("aria-disabled", "true")
    panel.get_by_label("search").fill("many-7")
    expect(panel.get_by_role("status")).to_contain_text("page 1: 1 model with 'many-7' among 60 searched")
    expect(panel.locator("tr[data-id] mark")).to_have_text("many-7")
    panel.get_by_label("search").fill("")
    panel.get_by_role("button", name="name").click()
    expect(rows(panel).first).to_contain_text("many-10")
    expect(panel.locator("th[data-id=name]")).to_have_attribute("aria-sort", "ascending")
    # By keyboard: to the next tabs, down the rows, and along the lineage.
    panel.get_by_role("tab", name="Models").focus()
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    expect(panel.get_by_role("tab", name="Services")).to_be_focused()
    expect(panel.get_by_role("tab", name="Services")).to_have_attribute("aria-selected", "true")
    browsed = panel.locator("tr[data-id]", has_text="browsed")  # none of its details
    browsed.focus()
    notebook.page.keyboard.press("Enter")
    expect(browsed).to_have_attribute("aria-selected", "true")
    expect(panel.get_by_role("button", name="model parent 1")).to_be_visible()
    notebook.screenshot(f"workspace-{kernel_name}", 0)
    notebook.run(1)
    assert "selected: Service browsed" in notebook.seen(1)
    panel.get_by_role("button", name="model parent 1").press("Enter")
    expect(panel.get_by_role("region", name="selected")).to_contain_text("model parent version 1")
    expect(panel.get_by_role("button", name="model parent 1")).to_be_focused()
    notebook.run(1)
    assert "selected: Model parent" in notebook.seen(1)
    # An action opens another panel below.
    panel.get_by_role("tab", name="Services").click()
    browsed.click()
    panel.get_by_role("button", name="Log", exact=True).click()
    expect(panel.get_by_role("log")).to_contain_text("[mlmgmt] deployed")
    panel.get_by_role("button", name="Close the panel below").click()
    expect(panel.get_by_role("log")).to_have_count(0)
    panel.get_by_role("button", name="model parent 1").press("Enter")
    expect(panel.get_by_role("region", name="selected")).to_contain_text("model parent version 1")
    # It follows what happens while a cell runs; what is asked for meanwhile is told to wait, and done afterwards.
    panel.get_by_role("tab", name="Models").click()
    panel.get_by_label("tag", exact=True).fill("")
    panel.get_by_role("button", name="name").click()
    panel.get_by_role("button", name="name").click()
    expect(panel.locator("th[data-id=name]")).to_have_attribute("aria-sort", "none")
    notebook.run(2, wait=False)
    expect(rows(panel).first).to_contain_text(busy)
    assert notebook.is_running(2)
    panel.get_by_role("tab", name="Images").click()
    expect(panel.get_by_role("status")).to_contain_text("The kernel is busy")
    (notebook.lab.work / busy).touch()
    expect(panel.get_by_role("tab", name="Images")).to_have_attribute("aria-selected", "true")
    expect(rows(panel).first).to_contain_text("browsed")
    notebook.wait_for_end(2)
    assert not notebook.errors
    # Without its kernel the picture is there.
    eventually(lambda: "Images</b>, " in str(notebook.save()["cells"][0]["outputs"]), DEADLINE)
    notebook.restart_kernel()
    notebook.wait_to_see(0, "Images, ")
    expect(panel.get_by_role("tab")).to_have_count(0)
    notebook.reopen_without_kernel()
    seen = notebook.wait_to_see(0, "Images, ")
    assert "model parent version 1" in seen
    assert "not found" not in seen
    expect(
        notebook.outputs(0).get_by_role("img", name="lineage: models: parent 1; manifests: browsed 1")
    ).to_be_visible()
    notebook.screenshot(f"workspace-reopened-{kernel_name}", 0)


def test_a_server_that_is_gone_is_told_in_the_panel(open_notebook: Callable[..., Notebook]) -> None:
    code = "from mlmgmt_nb import connect\nfrom mlmgmt_nb.notebook.panels import WorkspacePanel\n"
    ws = "WorkspacePanel(connect(base_url='http://127.0.0.1:1/accounts/none', token='t'))"
    notebook = open_notebook([code + ws], theme="dark")
    notebook.run(0)
    seen = notebook.wait_to_see(0, "no connection to http://127.0.0.1:1/accounts/none/models")
    assert "Check that the service runs there" in seen
    notebook.screenshot("workspace-gone-dark", 0)


def test_browsing_under_voila(lab: Lab, voila: Voila, browser: Browser, ws: Workspace) -> None:
    page = voila.open(browser, lab.write("workspace-in-voila", [SHOW]))
    first = rows(page.locator(".mlmgmt-workspace")).first
    page.get_by_label("tag", exact=True).fill("many")
    expect(first).to_contain_text("many-59")
    first.click()
    expect(page.get_by_role("button", name="model many-59 1")).to_be_visible()
    page.context.close()
