"""Panels by axe-core, by the keyboard alone, and as a screen reader hears them. One page for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, ViewportSize, expect

from tests.acceptance.panels.accessibility import THEMES, problems
from tests.acceptance.panels.lab import Notebook

SETUP = """\
%load_ext mlmgmt_nb
from mlmgmt_nb import connect
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema
import pandas as pd
ws = connect()
frame = pd.DataFrame({"petal": [1.4, 4.5], "name": ["Ann", "Bob"], "wild": [True, False]})
def run(flowers, threshold): ...
samples = {"flowers": SampleDefinition(DataTypes.PANDAS, frame), "threshold": SampleDefinition(DataTypes.STANDARD, 5.5)}
generate_schema(run, samples, filepath="heard.json")
for version in (1, 2):
    with open("heard.py", "w") as driver:
        driver.write(f"def run(flowers, threshold): return [float(threshold), {version}.0]")
    service = ws.deploy("heard", driver="heard.py", schema="heard.json")
cases = [{"flowers": frame, "threshold": number / 2} for number in range(4)]
"""
PANELS = {
    "workspace": "%mlmgmt",
    "console": "%mlmgmt service panel -n heard",
    "try": "panel = %mlmgmt service try -n heard\npanel",
    "deploy": "%mlmgmt service form -n unheard -f heard.py",
    "keys": "%mlmgmt service keys -n heard --show",
    "test": "ws.services.test('heard', cases, expect=lambda given, answer: answer[0] > 1)",
    "operation": "%mlmgmt service update -n heard -z 2 --no-wait",
}
ALONE = "for other in [s for s in ws.services.list() if s.name != 'heard']:\n    ws.services.delete(other)"
"""Removes what other tests of the same JupyterLab left, which the lists would show."""
STATIC = {"card": "ws", "list": "%mlmgmt service list", "usage": "%mlmgmt service usage -n heard"}
ALL_CELLS: ViewportSize = {"width": 1100, "height": 6000}
"""JupyterLab takes cells out of the page that are not in sight."""
NARROW: ViewportSize = {"width": 700, "height": 6000}
NUMBERS = {name: number for number, name in enumerate(PANELS, start=1)}
_SPOKEN = """cell => {
    const outputs = document.querySelectorAll('.jp-Notebook .jp-Cell')[cell].querySelector('.jp-Cell-outputArea');
    const live = '[role=status]:not([aria-live=off]), [role=alert]';
    const last = new Map();
    window.spoken = [];
    const listen = () => {
        const now = [...outputs.querySelectorAll(live)].map(each => each.textContent.trim()).filter(Boolean);
        for (const text of now) if (!last.has(text)) window.spoken.push(text);
        last.clear();
        for (const text of now) last.set(text, true);
    };
    listen();
    const all = {subtree: true, childList: true, characterData: true, attributes: true};
    new MutationObserver(listen).observe(outputs, all);
}"""


@pytest.fixture
def notebook(open_notebook: Callable[..., Notebook]) -> Notebook:
    """Return a notebook with every panel, after its cells have run: all but those that a test runs."""
    notebook = open_notebook([f"{SETUP}\n{ALONE}", *PANELS.values(), *STATIC.values()])
    notebook.page.set_viewport_size(ALL_CELLS)
    for number in range(len(PANELS)):
        notebook.run(number)
    return notebook


def test_every_panel_is_accessible(notebook: Notebook) -> None:
    _the_end_of_an_operation_is_heard_once(notebook)
    _workspace(notebook, notebook.outputs(NUMBERS["workspace"]))
    _console(notebook, notebook.outputs(NUMBERS["console"]))
    _try(notebook, notebook.outputs(NUMBERS["try"]))
    _deploy(notebook, notebook.outputs(NUMBERS["deploy"]))
    _keys(notebook, notebook.outputs(NUMBERS["keys"]))
    found = [
        f"{theme}, {name}, {tab}: {problem}"
        for theme in THEMES
        for name, number in NUMBERS.items()
        for tab in _tabs(notebook, number, theme)
        for problem in problems(notebook, number)
    ]
    assert not found, "\n".join(found)
    _all_can_be_read_in_a_narrow_page(notebook)
    assert notebook.errors == []


def _all_can_be_read_in_a_narrow_page(notebook: Notebook) -> None:
    numbers = NUMBERS | {name: number for number, name in enumerate(STATIC, start=1 + len(PANELS))}
    for name in STATIC:
        notebook.run(numbers[name])
    notebook.hide_sidebars()
    notebook.page.set_viewport_size(NARROW)
    cut_off = [
        f"{name}, {tab}: {part}"
        for name, number in numbers.items()
        for tab in _tabs(notebook, number, "light")
        for part in notebook.cut_off(number)
    ]
    assert not cut_off, "\n".join(cut_off)
    notebook.page.set_viewport_size(ALL_CELLS)


def _tabs(notebook: Notebook, number: int, theme: str) -> Iterator[str]:
    """Select each tab of a panel in turn; yield its title when it has read its content, or once "" without tabs."""
    notebook.set_theme(theme)
    panel = notebook.outputs(number)
    tabs = panel.get_by_role("tab")
    for place in range(tabs.count()):
        tabs.nth(place).click()
        expect(tabs.nth(place)).to_have_attribute("aria-selected", "true")
        expect(panel.locator("[aria-busy='true']")).to_have_count(0)
        yield tabs.nth(place).inner_text()
    if not tabs.count():
        yield ""


def _the_end_of_an_operation_is_heard_once(notebook: Notebook) -> None:
    number = NUMBERS["operation"]
    notebook.page.evaluate(_SPOKEN, number)
    notebook.run(number)
    notebook.wait_to_see(number, "Succeeded service")
    spoken = notebook.page.evaluate("window.spoken")
    assert len([text for text in spoken if "service" in text]) == 1, spoken


def _reach(notebook: Notebook, target: Locator) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        if target.evaluate("element => element === document.activeElement"):
            return
        notebook.page.keyboard.press("Tab")
    raise AssertionError(f"not reached with Tab: {target}")


def _workspace(notebook: Notebook, panel: Locator) -> None:
    keyboard = notebook.page.keyboard
    panel.get_by_role("tab", name="Models").focus()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    expect(panel.get_by_role("status")).to_contain_text("1 service")
    _reach(notebook, panel.locator("tr[data-id][tabindex='0']"))
    keyboard.press("Home")
    keyboard.press("Enter")
    expect(panel.get_by_role("region", name="selected")).to_contain_text("scoring URL")
    node = panel.get_by_role("button", name="manifest heard 2")
    expect(node).to_be_visible()
    _reach(notebook, node)
    keyboard.press("Enter")
    expect(panel.get_by_role("region", name="selected")).to_contain_text("manifest heard version 2")
    expect(node).to_be_focused()


def _console(notebook: Notebook, panel: Locator) -> None:
    keyboard = notebook.page.keyboard
    panel.get_by_role("tab", name="Traffic").focus()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    replicas = panel.get_by_label("Replicas", exact=True)
    _reach(notebook, replicas)
    keyboard.press("Control+a")
    keyboard.type("1")
    keyboard.press("Enter")
    expect(panel.get_by_role("status").filter(has_text="heard: 1 replicas")).to_be_visible()
    expect(replicas).to_be_focused()
    # A row of the table is drawn anew while it has the focus; then its button is gone.
    expect(panel.get_by_role("button", name="Cancel the operation")).to_be_hidden()
    panel.get_by_role("tab", name="Scale").focus()
    keyboard.press("ArrowRight")
    back = panel.get_by_role("button", name="Roll back to heard version 1")
    _reach(notebook, back)
    keyboard.press("Enter")
    expect(panel.get_by_role("button", name="Roll back to heard version 2").first).to_be_enabled()
    assert panel.evaluate("panel => panel.contains(document.activeElement)"), "the focus is lost"


def _try(notebook: Notebook, panel: Locator) -> None:
    keyboard = notebook.page.keyboard
    panel.get_by_role("tab", name="Form").focus()
    threshold = panel.get_by_label("threshold", exact=True)
    _reach(notebook, threshold)
    keyboard.press("Control+a")
    keyboard.type("7.5")
    keyboard.press("Control+Enter")
    expect(panel.get_by_role("region", name="answer", exact=True)).to_contain_text("7.5")
    expect(threshold).to_be_focused()


def _deploy(notebook: Notebook, panel: Locator) -> None:
    panel.get_by_label("Service name").focus()
    show = panel.get_by_role("button", name="Show code")
    _reach(notebook, show)
    notebook.page.keyboard.press("Enter")
    expect(panel.get_by_role("region", name="Python")).to_contain_text("ws.deploy(")
    expect(panel.get_by_role("button", name="Hide code")).to_be_focused()


def _keys(notebook: Notebook, panel: Locator) -> None:
    primary = panel.get_by_role("group", name="Primary key")
    expect(primary).to_contain_text("hidden")
    primary.get_by_role("button", name="Reveal").focus()
    notebook.page.keyboard.press("Enter")
    expect(primary.get_by_role("button", name="Hide")).to_be_focused()
    expect(primary).not_to_contain_text("hidden")
    notebook.page.keyboard.press("Enter")
    expect(primary).to_contain_text("hidden")
