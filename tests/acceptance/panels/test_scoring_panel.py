"""A service that is tried out in JupyterLab with the versions of its kernel, under Voila, and in a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Locator, expect

from tests.acceptance.panels.canaries import found_in
from tests.acceptance.panels.lab import Lab, Notebook, Voila
from tests.support.waiting import eventually

DRIVER = """\
import json

def init():
    pass

def run(flowers, threshold, scaled):
    if threshold > 100:
        raise ValueError("<b>too high</b>")
    longest = flowers[["sepal", "petal"]].max(axis=1)
    kinds = [f"<i>{name}</i>" for name in flowers["name"]]
    return [{"kind": k, "long": bool(v > threshold), "scaled": scaled} for k, v in zip(kinds, longest)]
"""
SETUP = f"""\
%load_ext mlmgmt_nb
from pathlib import Path
import pandas as pd
from mlmgmt_nb import connect
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema
Path("flowers.py").write_text({DRIVER!r})
ws = connect()
seen = pd.to_datetime(["2017-01-31", "2017-02-28"])
frame = pd.DataFrame({{"sepal": [5.1, 6.2], "petal": [1.4, 4.5], "name": ["Ann", "Bob"], "wild": [True, False]}})
frame["seen"] = seen
frame["size"] = pd.Categorical(["S", "L"])
frame["note"] = ["new", None]
frame["at"] = pd.Series([seen[0], None]).dt.tz_localize("Europe/Berlin")
def run(flowers, threshold, scaled): ...
plain = {{"threshold": SampleDefinition(DataTypes.STANDARD, 5.5), "scaled": SampleDefinition(DataTypes.STANDARD, True)}}
samples = {{"flowers": SampleDefinition(DataTypes.PANDAS, frame), **plain}}
generate_schema(run, samples, filepath="flowers.json")
if ws.services.find("flowers") is None:
    service = ws.deploy("flowers", driver="flowers.py", schema="flowers.json")
"""
OPEN = "panel = %mlmgmt service try -n flowers\npanel"


def test_a_service_is_tried_out(open_notebook: Callable[..., Notebook], kernel_name: str) -> None:
    # The third cell keeps the kernel busy: the panel works meanwhile.
    notebook = open_notebook([SETUP, OPEN, "import time\ntime.sleep(3)", "print(panel.answer)"], kernel=kernel_name)
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.run(0)
    notebook.run(1)
    panel = notebook.outputs(1)
    # The sample is filled in, and is sent by a click.
    expect(panel.get_by_label("sepal, row 1")).to_have_value("5.1")
    expect(panel.get_by_label("threshold", exact=True)).to_have_value("5.5")
    panel.get_by_role("button", name="Send").click()
    answer = panel.get_by_role("table", name="answer")
    expect(answer.get_by_role("cell", name="<i>Ann</i>")).to_be_visible()
    expect(panel.get_by_role("region", name="answer")).to_contain_text("200 OK")
    expect(panel.get_by_role("region", name="answer")).to_contain_text(" ms, request 1 at ")
    assert answer.locator("i").count() == 0
    # Fields fit their values: choices, switches, dates.
    size = panel.get_by_label("size, row 1")
    expect(size.get_by_role("option")).to_have_text(["", "L", "S"])
    size.select_option("L")
    expect(panel.get_by_role("switch", name="scaled")).to_be_checked()
    seen = panel.get_by_label("seen, row 2")
    expect(seen).to_have_attribute("type", "datetime-local")
    seen.fill("2018-03-01T12:30:00")
    # A null is shown, and sent until it is edited; no picker takes a zone.
    note, at = panel.get_by_label("note, row 2"), panel.get_by_label("at, row 2")
    expect(note).to_have_attribute("placeholder", "null")
    expect(at).to_have_attribute("type", "text")
    note.fill("old")
    note.fill("")
    expect(note).to_have_attribute("placeholder", "")
    panel.get_by_role("tab", name="JSON").click()
    body = panel.get_by_label("body of the request")
    eventually(lambda: json.loads(body.input_value())["flowers"][0]["size"] == "L")
    eventually(lambda: json.loads(body.input_value())["flowers"][1]["seen"].startswith("2018-03-01T12:30"))
    eventually(lambda: json.loads(body.input_value())["flowers"][1]["note"] == "")
    assert json.loads(body.input_value())["flowers"][1]["at"] is None
    panel.get_by_role("tab", name="Form").click()
    # By the keyboard: another value, and Ctrl+Enter.
    threshold = panel.get_by_label("threshold", exact=True)
    threshold.fill("1e3")
    expect(panel.get_by_role("region", name="answer")).to_contain_text("The input has changed since.")
    threshold.press("Control+Enter")
    expect(panel.get_by_role("region", name="answer").get_by_role("alert")).to_contain_text("<b>too high</b>")
    expect(panel.get_by_role("region", name="answer")).to_contain_text("500 error")
    expect(panel.get_by_text("The input has changed since.")).to_be_hidden()
    notebook.screenshot(f"scoring-error-{kernel_name}", 1)
    # What does not fit is said beside the field, and not sent.
    panel.get_by_label("petal, row 2").fill("long")
    expect(panel.get_by_label("petal, row 2")).to_have_attribute("aria-invalid", "true")
    expect(panel.get_by_role("group", name="flowers")).to_contain_text("row 2, petal: not a number")
    panel.get_by_role("button", name="Send").press("Enter")
    notebook.wait_to_see(1, "Not sent: correct the marked field.")
    expect(panel.get_by_label("petal, row 2")).to_be_focused()
    expect(panel.get_by_role("alert")).to_have_count(1)  # of the answer before
    panel.get_by_label("petal, row 2").fill("4")
    expect(panel.get_by_text("Not sent: correct the marked field.")).to_be_hidden()
    expect(panel.get_by_label("petal, row 2")).to_have_attribute("aria-invalid", "false")
    # The other view has the same, both ways; arrow keys lead to it.
    panel.get_by_role("tab", name="Form").press("ArrowRight")
    eventually(lambda: json.loads(body.input_value())["flowers"][1]["petal"] == 4)
    changed = {**json.loads(body.input_value()), "threshold": 4.5}
    body.fill(json.dumps(changed))
    panel.get_by_role("tab", name="JSON").press("ArrowLeft")
    expect(panel.get_by_label("threshold", exact=True)).to_have_value("4.5")
    panel.get_by_role("button", name="Add a row").click()
    expect(panel.get_by_label("name, row 3")).to_have_value("Bob")
    panel.get_by_role("button", name="Remove row 1").press("Enter")
    expect(panel.get_by_label("name, row 1")).to_have_value("Bob")
    # While another cell runs.
    notebook.run(2, wait=False)
    panel.get_by_role("button", name="Send").click()
    notebook.wait_for_end(2)
    expect(answer.get_by_role("row")).to_have_count(3)
    expect(answer.get_by_role("cell", name="<i>Bob</i>")).to_have_count(2)
    notebook.run(3)
    notebook.wait_to_see(3, "[{'kind': '<i>Bob</i>', 'long': True, 'scaled': True}")
    # The history brings a request back, with its answer.
    panel.get_by_role("region", name="history").get_by_role("button").last.click()
    expect(panel.get_by_label("name, row 1")).to_have_value("Ann")
    expect(answer.get_by_role("cell", name="<i>Ann</i>")).to_be_visible()
    panel.get_by_role("tab", name="Code").click()
    expect(panel.get_by_label("curl", exact=True)).to_contain_text('-H "Authorization: Bearer $MLMGMT_KEY"')
    expect(panel.get_by_label("curl", exact=True)).to_contain_text("mlmgmt service keys -n flowers")
    expect(panel.get_by_label("Python", exact=True)).to_contain_text('"name": "Ann"')
    notebook.screenshot(f"scoring-code-{kernel_name}", 1)
    panel.get_by_role("button", name="Copy curl").click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    assert "\ncurl http" in notebook.page.evaluate("navigator.clipboard.readText()")
    panel.get_by_role("tab", name="Form").click()
    # Cells of a spreadsheet are pasted as cells.
    notebook.page.evaluate("navigator.clipboard.writeText('7.5\\t1.5\\n8.5\\t2.5\\n9.5\\t3.5')")
    panel.get_by_label("sepal, row 1").press("Control+V")
    expect(panel.get_by_label("petal, row 3")).to_have_value("3.5")
    expect(panel.get_by_label("sepal, row 2")).to_have_value("8.5")
    notebook.screenshot(f"scoring-{kernel_name}", 1)
    assert notebook.errors == []
    # Without a kernel its picture stays.
    eventually(lambda: "Ann" in str(notebook.save()["cells"][1]["outputs"]))
    saved = notebook.save(widgets=True)
    assert "MLMGMT_KEY" in json.dumps(saved["metadata"]["widgets"])
    assert found_in(saved, notebook.lab, "flowers") == []
    notebook.restart_kernel()
    _has_picture(notebook)
    notebook.reopen_without_kernel()
    _has_picture(notebook)


def _has_picture(notebook: Notebook) -> None:
    seen = notebook.wait_to_see(1, "<i>Ann</i>")
    assert "200 OK" in seen
    assert "Send" not in seen
    assert "widget" not in seen.lower()


ECHO = """\
%load_ext mlmgmt_nb
from pathlib import Path
Path("echoes.py").write_text("def init():\\n    pass\\n\\ndef run(body):\\n    return {'got': body}\\n")
from mlmgmt_nb import connect
ws = connect()
if ws.services.find("echoes") is None:
    service = ws.deploy("echoes", driver="echoes.py")
"""


def test_a_driver_without_a_schema_in_the_dark(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([ECHO, "%mlmgmt service try -n echoes", "ws.services.delete('echoes')"], theme="dark")
    notebook.run(0)
    notebook.run(1)
    panel = notebook.outputs(1)
    assert panel.get_by_role("tab").all_inner_texts() == ["Body", "Code"]
    panel.get_by_label("body of the request").fill("no <json> at all")
    panel.get_by_label("body of the request").press("Control+Enter")
    expect(panel.get_by_role("cell", name="no <json> at all")).to_be_visible()
    notebook.screenshot("scoring-dark", 1)
    panel.get_by_role("tab", name="Code").click()
    expect(panel.get_by_label("curl", exact=True)).to_contain_text("--data-raw 'no <json> at all'")
    # A service that is gone: what is wrong, and what to do.
    notebook.run(2)
    eventually(lambda: _fails(panel), what="the end of the service")  # a replica answers until it has gone
    expect(panel.get_by_role("alert")).to_contain_text("echoes")
    notebook.screenshot("scoring-gone", 1)
    assert notebook.errors == []


def _fails(panel: Locator) -> bool:
    """Send once more; whether that fails."""
    requests = panel.get_by_role("region", name="history").get_by_role("button")
    before = requests.count()
    panel.get_by_role("button", name="Send").click()
    expect(requests).to_have_count(before + 1)
    return panel.get_by_role("alert").count() > 0


def test_under_voila(lab: Lab, voila: Voila, browser: Browser) -> None:
    cells = [SETUP, "from mlmgmt_nb.notebook.panels import ScoringPanel\nScoringPanel(ws, 'flowers')"]
    page = voila.open(browser, lab.write("scoring-in-voila", cells))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("cell", name="<i>Ann</i>")).to_be_visible()
    page.context.close()


SENT = """\
import time
from mlmgmt_nb.notebook.panels import ScoringTestPanel
panel.send()
ended = ScoringTestPanel(ws.services.scoring_test("flowers", [frame.to_dict("list")], requests=20))
ended.show()
assert ended.test.result(60).summary["requests"] == 20
deadline = time.monotonic() + 60
while "200 OK" not in panel._shown[1] and time.monotonic() < deadline:  # its picture is drawn once a second
    time.sleep(0.05)  # between two looks
"""


def test_a_notebook_that_nbclient_runs_keeps_no_secret(lab: Lab, tmp_path: Path) -> None:
    notebook = lab.write("scoring-by-nbclient", [SETUP, OPEN, SENT])
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--output-dir", str(tmp_path)]
    subprocess.run([*command, str(notebook)], check=True, env=lab.environment, capture_output=True, timeout=120)
    saved = json.loads((tmp_path / notebook.name).read_text())
    state = json.dumps(saved["metadata"]["widgets"])
    assert "MLMGMT_KEY" in state
    assert "Scoring test of flowers" in state
    assert "200 OK" in json.dumps(saved["cells"][1]["outputs"])
    assert found_in(saved, lab, "flowers") == []


def test_in_a_terminal(lab: Lab) -> None:
    setup = SETUP.replace("%load_ext mlmgmt_nb", "")
    lines = f"get_ipython().run_line_magic('load_ext', 'mlmgmt_nb')\n{setup}\npanel = get_ipython().run_line_magic"
    lines += (
        "('mlmgmt', 'service try -n flowers')\npanel.show()\npanel._sent(panel.scoring.input.check())\npanel.show()"
    )
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--colors=NoColor", "-c", lines]
    done = subprocess.run(command, env=lab.environment, cwd=lab.work, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Score data with `%mlmgmt service run -n flowers -d DATA`." in done.stdout
    assert "200 OK, " in done.stdout
    assert '{"kind": "<i>Ann</i>", "long": false, "scaled": true}' in done.stdout
