"""The panel of a proposed change in JupyterLab: by the keyboard alone, in each theme, and when no kernel is left."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from playwright.sync_api import Locator, expect

from tests.acceptance.panels.accessibility import THEMES, problems
from tests.acceptance.panels.canaries import found_in
from tests.acceptance.panels.lab import Lab, Notebook
from tests.support.waiting import DEADLINE, eventually

SETUP = """\
%load_ext mlmgmt_nb
from mlmgmt_nb import connect
ws = connect()
for factor in (2, 3):
    with open("times.py", "w") as driver:
        driver.write(f"import json\\ndef run(body): return {factor} * json.loads(body)")
    if factor == 2:
        service = ws.deploy("times", driver="times.py")
change = ws.services.propose("times", driver="times.py", reason="three is more")
"""
MIRRORED = """\
import time
for number in range(1, 30):
    ws.services.run("times", number)
    time.sleep(0.05)  # copies are not sent while the candidate is busy
"""
CALLS = """\
for number in range(20_000):
    ws.services.run("times", number)
    if change.candidate.canary.state == "Passed":
        break
"""


def test_a_change_from_its_differences_to_its_promotion(open_notebook: Callable[..., Notebook], lab: Lab) -> None:
    notebook = open_notebook([SETUP, "change", CALLS, "%mlmgmt service panel -n times", MIRRORED])
    notebook.run(0)
    notebook.run(1)
    notebook.wait_to_see(1, "times.py")
    panel = notebook.outputs(1)
    keyboard = notebook.page.keyboard
    expect(panel.get_by_role("status").filter(has_text="No canary")).to_be_visible()

    def next_tab(title: str) -> None:
        panel.get_by_role("tab", selected=True).focus()
        keyboard.press("ArrowRight")
        expect(panel.get_by_role("tab", name=title)).to_be_focused()

    def enter(field: str, text: str) -> None:
        _reach(notebook, panel.get_by_label(field, exact=True))
        keyboard.press("Control+a")
        keyboard.type(text)

    def press(button: str) -> None:
        target = panel.get_by_role("button", name=button, exact=True)
        expect(target).to_be_enabled()
        _reach(notebook, target)
        keyboard.press("Enter")

    next_tab("Try")
    enter("Request, as JSON", "five")
    press("Try")
    expect(panel.get_by_role("alert").filter(has_text="the request is not JSON")).to_be_visible()
    enter("Request, as JSON", "5")
    press("Try")
    expect(panel.get_by_role("region", name="answer")).to_have_text("15")
    next_tab("Replay")
    enter("Or cases, as a JSON list", f"[{', '.join('1' * 30)}]")
    press("Replay")
    expect(panel.get_by_role("tabpanel")).to_contain_text("30 different")
    next_tab("Mirror")
    press("Mirror")
    expect(panel.get_by_role("tabpanel")).to_contain_text("mirror of 100 % of the requests, running")
    # The first ones may take the way from before the mirror.
    notebook.run(4)
    expect(panel.get_by_role("tabpanel")).to_contain_text(re.compile(r"\b2\d pairs of answers"))
    press("Compare the answers")
    expect(panel.get_by_role("tabpanel")).to_contain_text(re.compile(r"\b2\d different"))
    press("Stop the mirror")
    expect(panel.get_by_role("tabpanel")).to_contain_text("mirror of 100 % of the requests, stopped")
    next_tab("Canary")
    enter("Share of each step, %", "50")
    enter("Minutes of each step", "0")
    press("Canary")
    expect(panel.get_by_role("status").filter(has_text="50 % of the requests: ")).to_be_visible()
    # The counts move while a cell runs.
    notebook.run(2)
    expect(panel.get_by_role("status").filter(has_text="good enough")).to_be_visible()
    expect(panel.get_by_role("row").filter(has_text="candidate")).to_contain_text("ms")
    found = [
        f"{theme}, {tab}: {problem}"
        for theme in THEMES
        for tab in _tabs(notebook, panel, theme)
        for problem in problems(notebook, 1)
    ]
    assert not found, "\n".join(found)
    panel.get_by_role("tab", name="Canary").click()
    press("Stop")
    expect(panel.get_by_role("status").filter(has_text="0 % of the requests: stopped")).to_be_visible()
    _is_opened_from_the_service(notebook)
    next_tab("Promote")
    enter("Gate on the last report, or empty", "agree >= 0.5")
    press("Promote")
    enter("Type times to confirm", "times")
    press("Promote the change of times")
    expect(panel.get_by_role("alert").filter(has_text="gate failed: agree >= 0.5")).to_be_visible()
    enter("Gate on the last report, or empty", "lost == 0")
    press("Promote")
    enter("Type times to confirm", "times")
    press("Promote the change of times")
    expect(panel.get_by_role("status").filter(has_text="The change serves times now.")).to_be_visible()

    def is_saved() -> bool:
        return "The change serves times now." in json.dumps(notebook.save()["cells"][1]["outputs"])

    eventually(is_saved, DEADLINE, "the picture")
    assert found_in(notebook.save(), lab, "times") == []
    notebook.restart_kernel()
    seen = notebook.wait_to_see(1, "The change serves times now.")
    assert "three is more" in seen
    assert "Type times" not in seen
    assert notebook.errors == []


def _is_opened_from_the_service(notebook: Notebook) -> None:
    notebook.run(3)
    console = notebook.outputs(3)
    console.get_by_role("button", name="Show the change").click()
    expect(console.get_by_text("Change of times")).to_be_visible()
    console.get_by_role("button", name="Hide the change").click()
    expect(console.get_by_text("Change of times")).to_have_count(0)


def _tabs(notebook: Notebook, panel: Locator, theme: str) -> Iterator[str]:
    """Select each tab in turn, and yield its title."""
    notebook.set_theme(theme)
    for tab in panel.get_by_role("tab").all():
        tab.click()
        yield tab.inner_text()


def _reach(notebook: Notebook, target: Locator) -> None:
    """Press Tab, or Shift+Tab, until an element has the focus."""
    for key in ["Tab"] * 15 + ["Shift+Tab"] * 30:
        if target.evaluate("element => element === document.activeElement"):
            return
        notebook.page.keyboard.press(key)
    raise AssertionError(f"not reached with Tab: {target}")
