"""A service's panel in JupyterLab and Voila: by mouse and keyboard, while a cell runs, and when no kernel is left."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from mlmgmt_nb import local
from mlmgmt_nb.client import Workspace, connect
from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import DEADLINE, eventually

DRIVER = "def run(body):\n    return {version} // int(body)\n"
OPEN = "%load_ext mlmgmt_nb\n%mlmgmt service panel -n {name}"
SCORE = """\
import pathlib, time
from mlmgmt_nb import connect
ws, release, deadline = connect(), pathlib.Path("release-{name}"), time.monotonic() + 120
while not release.exists() and time.monotonic() < deadline:
    ws.services.run("{name}", 1)
    time.sleep(0.02)  # between two looks
"""


@pytest.fixture(scope="module")
def ws(lab: Lab) -> Iterator[Workspace]:
    with connect(home=lab.environment["MLMGMT_HOME"]) as ws:
        yield ws


@pytest.fixture
def deploy(ws: Workspace, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Deploys a service twice, and deletes it when the test ends."""
    names: list[str] = []

    def deploy(name: str) -> str:
        names.append(name)
        for version in (1, 2):
            (tmp_path / "score.py").write_text(DRIVER.format(version=version))
            ws.deploy(name, driver=tmp_path / "score.py", num_replicas=1)
        return name

    yield deploy
    for name in names:
        ws.services.delete(name)


def tab(place: Locator, title: str) -> Locator:
    return place.get_by_role("tab", name=title, exact=True)


def test_a_service_is_watched_and_changed(
    open_notebook: Callable[..., Notebook], deploy: Callable[[str], str], ws: Workspace, kernel_name: str
) -> None:
    name = deploy(f"panel-{kernel_name.rpartition('-')[2]}")
    notebook = open_notebook([OPEN.format(name=name), SCORE.format(name=name)], kernel=kernel_name)
    notebook.run(0)
    notebook.wait_to_see(0, "1 of 1 ready")
    panel = notebook.outputs(0)
    # Traffic moves while a cell runs.
    notebook.run(1, wait=False)
    panel.get_by_role("img", name=re.compile(r"Latency: p50 [\d.]+ ms, p95 [\d.]+ ms")).wait_for()
    assert notebook.is_running(1)
    # By keyboard, and still while the cell runs: to the next tab, and back to the first.
    tab(panel, "Traffic").focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.wait_to_see(0, "[mlmgmt] deployed")
    assert tab(panel, "Log").get_attribute("aria-selected") == "true"
    notebook.page.keyboard.press("Home")
    assert panel.get_by_role("img", name="Errors / s").is_visible()
    assert notebook.is_running(1)
    notebook.screenshot(f"service-traffic-{kernel_name}", 0)
    (notebook.lab.work / f"release-{name}").touch()
    notebook.wait_for_end(1)
    # An update that goes on after the cell has ended: one click rolls back, and the service never stops to answer.
    assert ws.services.run(name, 1) == 2
    tab(panel, "Deployments").click()
    panel.get_by_role("button", name=f"Roll back to {name} version 1").click()
    eventually(lambda: ws.services.run(name, 1) == 1, DEADLINE, "the rollback")
    panel.get_by_role("status").filter(has_text=f"{name}: {name} version 1").wait_for()
    row = panel.get_by_role("row").filter(has_text="current")
    eventually(lambda: f"{name} version 1" in row.inner_text(), DEADLINE, "the deployment in the list")
    notebook.screenshot(f"service-deployments-{kernel_name}", 0)
    # A wrong number of replicas is told in two lines; a right one, by keyboard, is served.
    tab(panel, "Scale").click()
    replicas = panel.get_by_label("Replicas", exact=True)
    replicas.fill("-1")
    panel.get_by_role("button", name="Apply").click()
    alert = panel.get_by_role("alert").filter(has_text="num replicas is -1")
    alert.wait_for()
    assert alert.inner_text().splitlines() == ["num replicas is -1", "Enter a whole number of at least 0."]
    replicas.fill("2")
    replicas.press("Enter")
    notebook.wait_to_see(0, "2 of 2 ready")
    assert not alert.is_visible()
    # Someone else changes the number while its field is edited: what was selected stays so, and is replaced.
    drawn = "_._frontend.shown['scale']['values']['num_replicas']"
    eventually(lambda: ws.services.get(name).state == "Succeeded", DEADLINE, "the end of the change")
    eventually(lambda: notebook.value_of(drawn) == "2", DEADLINE, "the change in the panel")
    replicas.press("Control+a")
    ws.services.update(name, num_replicas=3).result(timeout=DEADLINE)
    eventually(lambda: notebook.value_of(drawn) == "3", DEADLINE, "the other change in the panel")
    notebook.page.keyboard.type("2")
    assert replicas.input_value() == "2"
    replicas.press("Enter")
    notebook.wait_to_see(0, "2 of 2 ready")

    # What is left when the kernel is gone.
    def is_saved() -> bool:
        saved = json.dumps(notebook.save()["cells"][0]["outputs"])
        return "2 of 2 ready" in saved and f"service {name} [Succeeded]" in saved

    eventually(is_saved, DEADLINE, "the picture")
    for left in (notebook.restart_kernel, notebook.reopen_without_kernel):
        left()
        seen = notebook.wait_to_see(0, "2 of 2 ready")
        assert "Succeeded" in seen
        assert "Deployments" not in seen, "the tabs are of no use now"
        assert notebook.outputs(0).get_by_role("img", name="Requests / s").is_visible()
    notebook.screenshot(f"service-reopened-{kernel_name}", 0)
    assert notebook.errors == []


def test_a_request_is_found_in_the_log_and_the_service_is_deleted(
    open_notebook: Callable[..., Notebook], deploy: Callable[[str], str], ws: Workspace
) -> None:
    other, name = deploy("panel-foreign"), deploy("panel-log")
    ids = []
    for _ in range(2):
        with pytest.raises(Exception, match="integer division") as caught:
            ws.services.run(name, 0)
        ids.append(caught.value.request_id)  # type: ignore[attr-defined]
    notebook = open_notebook([OPEN.format(name=name)], theme="dark")
    notebook.run(0)
    panel = notebook.outputs(0)
    tab(panel, "Log").click()
    notebook.wait_to_see(0, ids[1])
    log = panel.get_by_role("log")
    panel.get_by_label("Lines").select_option("Warnings and errors")
    expect(log).to_contain_text("ZeroDivisionError")
    expect(log).not_to_contain_text("[mlmgmt] deployed")
    panel.get_by_label("Lines").select_option("All lines")
    expect(log).to_contain_text("[mlmgmt] deployed")
    panel.get_by_label("Request id").fill(ids[0])
    panel.get_by_label("Request id").press("Enter")
    eventually(lambda: ids[1] not in log.inner_text() and ids[0] in log.inner_text(), DEADLINE, "the search")
    assert "ZeroDivisionError" in log.inner_text()
    notebook.screenshot("service-log-dark", 0)
    # Another image is chosen from a list.
    tab(panel, "Deployments").click()
    choice, update = panel.get_by_label("Update to image"), panel.get_by_role("button", name="Update", exact=True)
    assert choice.input_value() == ""
    assert update.is_disabled(), "no image is chosen for the user"
    groups = choice.locator("optgroup").evaluate_all("groups => groups.map((group) => group.label)")
    assert groups[0] == "Of this service"
    choice.select_option(label=f"{name} version 1")
    update.click()
    assert notebook.page.evaluate("document.activeElement.textContent") == "Keep the current image"
    changes = panel.get_by_role("table", name="Differences")
    cells = changes.get_by_role("row").nth(1).get_by_role("cell")
    assert cells.all_inner_texts() == [f"{name} version 2", f"{name} version 1"]
    notebook.screenshot("service-update-asked-dark", 0)
    panel.get_by_role("button", name=f"Update {name}").click()
    eventually(lambda: ws.services.run(name, 1) == 1, DEADLINE, "the update")
    # An image that has nothing in common with the service takes the service's name.
    choice.select_option(label=f"{other} version 2")
    update.click()
    go = panel.get_by_role("button", name=f"Update {name}")
    assert go.is_disabled()
    panel.get_by_role("tabpanel", name="Deployments").get_by_label(f"Type {name} to confirm").fill(name)
    assert go.is_enabled()
    notebook.screenshot("service-foreign-image-dark", 0)
    notebook.page.keyboard.press("Escape")
    assert not go.is_visible()
    # So does no replica at all.
    tab(panel, "Scale").click()
    panel.get_by_label("Replicas", exact=True).fill("0")
    panel.get_by_label("Replicas", exact=True).press("Enter")
    assert panel.get_by_role("button", name="Scale to zero").is_disabled()
    panel.get_by_role("button", name="Keep it running").press("Enter")
    assert ws.services.get(ws.services.id_of(name)).num_replicas == 1
    # To delete it takes its name.
    tab(panel, "Delete").click()
    button = panel.get_by_role("button", name="Delete the service")
    field = panel.get_by_label(f"Type {name} to confirm")
    field.fill(name[:-1])
    assert button.is_disabled()
    field.press("Enter")
    assert ws.services.find(name) is not None
    field.fill(name)
    field.press("Enter")
    seen = notebook.wait_to_see(0, f"The service {name} was deleted.")
    assert "Reveal" not in seen
    assert ws.services.find(name) is None


def test_keys_are_shown_and_never_saved(
    open_notebook: Callable[..., Notebook], deploy: Callable[[str], str], ws: Workspace
) -> None:
    name = deploy("panel-keys")
    notebook = open_notebook([OPEN.format(name=name)], own_page=True)  # whose clock is changed
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.run(0)
    panel = notebook.outputs(0)
    tab(panel, "Keys").click()
    first = ws.services.keys(name)
    row = panel.get_by_role("group", name="Primary key")
    row.get_by_role("button", name="Reveal").click()
    row.get_by_text(first.primary_key or "").wait_for()
    assert (first.secondary_key or "") not in panel.inner_text()
    row.get_by_role("button", name="Hide").press("Enter")
    assert (first.primary_key or "") not in panel.inner_text()
    # A new key is asked for twice; the keyboard is at the harmless answer, and Escape takes the question back.
    row.get_by_role("button", name="Regenerate").click()
    assert notebook.page.evaluate("document.activeElement.textContent") == "Keep it"
    notebook.page.keyboard.press("Escape")
    assert ws.services.keys(name) == first
    row.get_by_role("button", name="Regenerate").click()
    make, typed = row.get_by_role("button", name="Regenerate the key"), row.get_by_label(f"Type {name} to confirm")
    typed.fill(name[:-1])
    assert make.is_disabled()
    typed.fill(name)
    typed.press("Enter")
    panel.get_by_role("status").filter(has_text="The primary key was regenerated").wait_for()
    second = ws.services.keys(name)
    assert (second.primary_key != first.primary_key, second.secondary_key) == (True, first.secondary_key)
    row.get_by_role("button", name="Reveal").click()
    row.get_by_text(second.primary_key or "").wait_for()
    panel.get_by_role("button", name="Copy the secondary key").click()
    panel.get_by_text("Copied").wait_for()
    copied = notebook.page.evaluate("navigator.clipboard.readText()")
    assert copied == second.secondary_key
    # With the key on the screen: what is saved has none of them, nor the account's token.
    saved = json.dumps(notebook.save(widgets=True))
    token = (Path(notebook.lab.environment["MLMGMT_HOME"]) / "token").read_text().strip()
    assert "application/vnd.jupyter.widget-state+json" in saved
    assert name in saved
    for secret in (first.primary_key, second.primary_key, first.secondary_key, token):
        assert secret
        assert secret not in saved
    # It goes from the screen by itself.
    notebook.page.clock.install()
    row.get_by_role("button", name="Hide").click()
    row.get_by_role("button", name="Reveal").click()
    row.get_by_text(second.primary_key or "").wait_for()
    notebook.page.clock.fast_forward(31_000)
    eventually(lambda: (second.primary_key or "") not in panel.inner_text(), DEADLINE, "the end of the key's display")


def test_keys_of_the_magic_are_shown_and_never_saved(
    open_notebook: Callable[..., Notebook], deploy: Callable[[str], str], ws: Workspace
) -> None:
    name = deploy("magic-keys")
    notebook = open_notebook([f"%load_ext mlmgmt_nb\n%mlmgmt service keys -n {name} --show"])
    notebook.run(0)
    row = notebook.outputs(0).get_by_role("group", name="Secondary key")
    row.get_by_role("button", name="Reveal").click()
    before = ws.services.keys(name)
    row.get_by_text(before.secondary_key or "").wait_for()
    assert (before.primary_key or "") not in notebook.outputs(0).inner_text()
    row.get_by_role("button", name="Regenerate").click()
    row.get_by_label(f"Type {name} to confirm").fill(name)
    row.get_by_label(f"Type {name} to confirm").press("Enter")
    notebook.wait_to_see(0, "The secondary key was regenerated")
    after = ws.services.keys(name)
    assert (after.primary_key, after.secondary_key != before.secondary_key) == (before.primary_key, True)
    row.get_by_role("button", name="Reveal").click()
    row.get_by_text(after.secondary_key or "").wait_for()
    notebook.screenshot("service-keys-of-the-magic", 0)
    saved = json.dumps(notebook.save(widgets=True))
    assert f"keys of {name}" in saved
    for secret in (before.primary_key, before.secondary_key, after.secondary_key):
        assert secret
        assert secret not in saved


def test_a_service_under_voila(lab: Lab, voila: Voila, browser: Browser, deploy: Callable[[str], str]) -> None:
    name = deploy("panel-voila")
    page = voila.open(browser, lab.write("service-in-voila", [OPEN.format(name=name)]))
    page.locator(".mlmgmt-service").get_by_text("1 of 1 ready").wait_for()
    page.get_by_role("tab", name="Deployments").click()
    page.get_by_role("button", name=f"Roll back to {name} version 1").wait_for()
    page.context.close()


def test_a_panel_of_a_service_that_was_stopped_says_so_and_starts_it_again(
    open_notebook: Callable[..., Notebook], deploy: Callable[[str], str], lab: Lab
) -> None:
    """It does not start what was stopped by looking; a click does."""
    home = lab.environment["MLMGMT_HOME"]
    notebook = open_notebook([OPEN.format(name=deploy("panel-stopped"))])
    notebook.run(0)
    notebook.wait_to_see(0, "1 of 1 ready")
    start = notebook.outputs(0).get_by_role("button", name="Start the service")
    assert not start.is_visible()
    assert local.stop(home) is True
    notebook.wait_to_see(0, "is stopped")
    start.wait_for()
    expect(notebook.outputs(0).locator(".mlmgmt-outdated")).to_contain_text("1 of 1 ready")
    assert local.find(home) is None
    start.click()
    eventually(lambda: local.find(home), what="the service")
    start.wait_for(state="hidden")
    expect(notebook.outputs(0).locator(".mlmgmt-outdated")).to_have_count(0)
    notebook.wait_to_see(0, "1 of 1 ready")
