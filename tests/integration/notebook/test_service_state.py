"""What a service panel knows and does, against a real service; and its words in IPython."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client import Application, Workspace, connect
from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.contract import Image
from mlmgmt_nb.errors import ConflictError, NotFoundError, ScoringError, UsageError
from mlmgmt_nb.notebook.display.card import badge
from mlmgmt_nb.notebook.panels.service.state import ServiceState
from mlmgmt_nb.notebook.panels.service.view import ServicePanel
from tests.integration.notebook.conftest import Notebook
from tests.support.waiting import eventually

NAME = "console"
DRIVER = "def run(body):\n    return {version} // int(body)\n"


@pytest.fixture(scope="module")
def ws(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Yield a workspace with a service that has been deployed twice: it divides 2 by what it gets, once it was 1."""
    folder = tmp_path_factory.mktemp("console")
    with connect(home=home) as ws:
        for version in (1, 2):
            (folder / "score.py").write_text(DRIVER.format(version=version))
            ws.deploy(NAME, driver=folder / "score.py", num_replicas=1)
        yield ws
        ws.services.delete(NAME)


@pytest.fixture
def state(ws: Workspace) -> ServiceState:
    return ServiceState(ws, NAME)


def until_done(state: ServiceState) -> None:
    """Look until the operation has ended well."""
    eventually(lambda: state.poll() is None or not state.is_open, 60.0, "the end of the operation")
    assert state.progress is not None
    assert state.progress.state == "Succeeded", state.progress.text()


@pytest.fixture
def fresh(ws: Workspace) -> Iterator[str]:
    """Yield the name of a service without earlier requests: replicas report their counts after the answers."""
    image = ws.services.get(NAME).image
    assert image is not None
    ws.services.create("fresh", image, num_replicas=1).result(60)
    yield "fresh"
    ws.services.delete("fresh")


def test_traffic_errors_and_latency(ws: Workspace, fresh: str) -> None:
    state = ServiceState(ws, fresh)
    state.poll()
    before = state.traffic.latest
    assert before is not None
    for body in (1, 2):
        ws.services.run(fresh, body)
    with pytest.raises(ScoringError):
        ws.services.run(fresh, 0)

    def counted() -> bool:
        state.poll()
        now = state.traffic.latest
        assert now is not None
        between = now.since(before)
        return (between.requests, between.failures, sum(count for _, count in between.latency)) == (3, 1, 3)

    eventually(counted, what="the counts")
    assert state.replicas() == "1 of 1 ready"
    assert state.has_metrics


def test_the_log_and_one_request_of_it(ws: Workspace, state: ServiceState) -> None:
    with pytest.raises(ScoringError) as caught:
        ws.services.run(NAME, 0)
    state.log.search(caught.value.request_id)

    def found() -> bool:
        state.poll()
        return any("ZeroDivisionError" in line for line in state.log.lines)

    eventually(found, what="the traceback in the log")
    assert all("[mlmgmt]" not in line for line in state.log.lines)


def test_update_and_roll_back(ws: Workspace, state: ServiceState) -> None:
    changes: list[threading.Thread] = []
    state = ServiceState(ws, NAME, on_change=lambda: changes.append(threading.current_thread()))
    state.refresh()
    active = next(deployment for deployment in state.deployments if deployment.status == "Active")
    now = 1 if state.image_name(active.image_id) == f"{NAME} version 1" else 2
    then = 3 - now
    expired = next(d for d in state.deployments if state.image_name(d.image_id) == f"{NAME} version {then}")
    before = len(state.deployments)  # other tests deploy as well
    assert {active.image_id, expired.image_id} <= {image.id for image in state.images}
    state.roll_back(expired.id or "")
    assert state.is_open
    assert state.note == f"{NAME}: {NAME} version {then}"
    with pytest.raises(ConflictError):
        state.scale(1)
    until_done(state)
    assert changes, "who shows it is told of the end at once"
    assert ws.services.run(NAME, 1) == then
    assert len(state.deployments) == before + 1, "what was deployed meanwhile is there"
    state.update(active.image_id or "")
    until_done(state)
    assert ws.services.run(NAME, 1) == now
    with pytest.raises(UsageError, match="not known"):
        state.roll_back("another")
    with pytest.raises(UsageError, match="no image"):
        state.update(" ")


def built(ws: Workspace, folder: Path, driver: str, name: str = "console-bad", **recorded: str) -> Image:
    """Return an image of a driver that the service has nothing in common with."""
    (folder / "score.py").write_text(driver)
    manifest = ws.manifests.create(name, Application(driver=folder / "score.py", properties=recorded))
    return ws.images.create(name, manifest).result(60)


def test_other_versions_of_this_kernel_are_named(ws: Workspace, tmp_path: Path) -> None:
    """While the service runs an image that was packaged with other versions, and when it is rolled back to it."""
    line = "versions of this kernel differ from those of the model's package: surely-not-installed 1.0 (here none)"
    code, name = "def run(body):\n    return 4\n", "other-versions"
    old = built(ws, tmp_path, code, name=name, kernelVersions="surely-not-installed==1.0")
    new = built(ws, tmp_path, code, name=name)
    ws.services.create(name, old).result(60)
    panel = ServicePanel(ws, name)
    state = panel.state
    assert panel.shown()["versions"] == line
    assert line in panel.text()
    state.update(new.id or "")
    until_done(state)
    assert (panel.shown()["versions"], line in state.note) == ("", False)
    state.roll_back(next(one.id or "" for one in state.deployments if one.image_id == old.id))
    assert state.note.endswith(line)
    until_done(state)
    with pytest.warns(UserWarning, match="surely-not-installed"):
        ws.services.update(name, image=old).result(60)
    ws.services.delete(name)


def test_an_update_is_cancelled(ws: Workspace, state: ServiceState, tmp_path: Path) -> None:
    slow = "import time\ndef init():\n    time.sleep(600)\ndef run(body):\n    return 3\n"
    state.cancel()  # there is nothing to cancel: nothing happens
    state.update(built(ws, tmp_path, slow).id or "", name=NAME)
    state.poll()
    assert state.is_open
    state.cancel()
    eventually(lambda: state.poll() is None or not state.is_open, 60.0, "the end of the operation")
    assert state.progress is not None
    assert state.progress.state == "Cancelled"
    assert ws.services.run(NAME, 1) in {1, 2}


def test_an_update_that_fails_is_told_and_the_service_goes_on(
    ws: Workspace, state: ServiceState, tmp_path: Path
) -> None:
    image = built(ws, tmp_path, "raise ValueError('<script>alert(1)</script>')\ndef run(body):\n    return 1\n")
    panel = ServicePanel(ws, NAME)
    panel.state.refresh()
    assert image.id in {image.id for image in panel.state.images}
    panel.state.update(image.id or "", name=NAME)
    eventually(lambda: panel.state.poll() is None or not panel.state.is_open, 60.0, "the end of the operation")
    assert panel.state.progress is not None
    assert panel.state.progress.state == "Failed"
    assert "ValueError" in panel.shown()["error"]
    # It answers, and is not shown as failed: how its last operation ended stands apart.
    assert "Serving" in panel.shown()["state"]
    assert "Failed" not in panel.shown()["state"]
    assert panel.shown()["lastOperation"] == "last operation: Failed"
    assert f"service {NAME} [Serving]" in panel.text()
    assert condition(ws.services.get(NAME)) == "Serving"
    failed = next(row for row in panel.shown()["deployments"] if row["image"] == f"console-bad version {image.version}")
    assert failed["change"] == "update by owner of the state folder"
    assert (failed["status"], failed["back"], failed["current"]) == ("Failed", False, False)
    assert "<script>" not in panel.html() + panel.shown()["progress"] + panel.shown()["charts"]
    assert "&lt;script&gt;" in panel.html()
    assert ws.services.run(NAME, 1) in {1, 2}
    # Once something was deployed well again, the error is gone.
    panel.state.scale(1)
    until_done(panel.state)
    assert panel.shown()["error"] == ""


def test_scale_and_autoscale(ws: Workspace, state: ServiceState) -> None:
    state.scale(2)
    until_done(state)
    eventually(lambda: state.poll() and state.replicas() == "2 of 2 ready", what="the second replica")
    state.autoscale(min_replicas=1, max_replicas=3, target_utilization=None, refresh_period_in_seconds=5)
    until_done(state)
    assert state.is_autoscaled
    scaler = ws.services.get(NAME).auto_scaler
    assert scaler is not None
    assert (scaler.min_replicas, scaler.max_replicas, scaler.refresh_period_in_seconds) == (1, 3, 5)
    state.scale(1)  # switches the autoscaler off
    until_done(state)
    assert not state.is_autoscaled


def test_what_stops_a_service_asks_for_its_name(state: ServiceState) -> None:
    with pytest.raises(UsageError, match="is not the name"):
        state.scale(0)
    with pytest.raises(UsageError, match="is not the name"):
        state.scale(0, "another")
    assert state.progress is None, "nothing was sent"


def test_own_images_come_first_and_a_foreign_one_asks_for_the_name(ws: Workspace, tmp_path: Path) -> None:
    foreign = built(ws, tmp_path, "def run(body):\n    return 'foreign'\n", name="console-other")
    panel = ServicePanel(ws, NAME)
    state = panel.state
    state.poll()
    names = [image.name for image in state.images]
    assert names == sorted(names, key=lambda name: name != NAME)
    assert foreign.id in {image.id for image in state.images}
    offered = {image["id"]: image for image in panel.shown()["images"]}
    serving = panel.shown()["serving"]
    assert serving not in offered
    assert offered[foreign.id]["group"] == "Of other services"
    changes = {label: (now, then) for label, now, then in offered[foreign.id]["differences"]}
    assert changes["manifest"][1] == "console-other version 1"
    with pytest.raises(UsageError, match="is not the name"):
        state.update(foreign.id or "", seen=serving)
    with pytest.raises(UsageError, match="meanwhile"):
        state.update(foreign.id or "", seen="another", name=NAME)
    assert state.progress is None, "nothing was sent"
    own = next(image for image in offered.values() if not image["foreign"])
    state.update(own["id"], seen=serving)
    until_done(state)


@pytest.mark.parametrize(
    ("change", "field", "fix"),
    [
        (lambda state: state.scale(-1), "num_replicas", "Enter a whole number of at least 0."),
        (lambda state: state.scale(None), "num_replicas", "Enter a whole number of at least 0."),
        (lambda state: state.autoscale(target_utilization=101), "target_utilization", "from 0 to 100"),
        (lambda state: state.autoscale(min_replicas=3, max_replicas=2), "max_replicas", "Enter at least 3."),
    ],
)
def test_limits_of_the_scale(state: ServiceState, change: Callable[[ServiceState], None], field: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        change(state)
    assert caught.value.field == field
    assert fix in (caught.value.fix or "")
    assert state.progress is None, "nothing was sent"


def test_keys_are_told_and_not_kept(ws: Workspace, state: ServiceState) -> None:
    key, other = state.key("Primary"), state.key("Secondary")
    assert (key, other) == (ws.services.keys(NAME).primary_key, ws.services.keys(NAME).secondary_key)
    with pytest.raises(UsageError, match="is not the name"):
        state.regenerate("Secondary", "")
    state.regenerate("Secondary", NAME)
    assert state.key("Primary") == key
    assert state.key("Secondary") != other
    assert state.note == "The secondary key was regenerated; the old key is refused."
    state.poll()
    panel = ServicePanel(ws, NAME)
    panel.state.poll()
    shown = [panel.text(), panel.html(), repr(panel.shown()), repr(vars(state)), repr(vars(panel))]
    for secret in (key, other, state.key("Secondary")):
        assert not [text for text in shown if secret in text]


def test_delete_asks_for_the_name(ws: Workspace, environment: Path) -> None:
    ws.deploy("console-2", driver=environment / "score.py")
    state, panel = ServiceState(ws, "console-2"), ServicePanel(ws, "console-2")
    elsewhere, url = panel.state, state.service.scoring_uri or ""
    assert panel.look() is not None
    assert url in panel.html()
    with pytest.raises(UsageError, match="is not the name"):
        state.delete("console")
    assert not state.is_deleted
    state.delete("console-2")
    assert state.is_deleted
    assert state.poll() is None
    assert ws.services.find("console-2") is None
    # Who looks at it from elsewhere is told.
    eventually(lambda: elsewhere.poll() is None, what="the end of the other panel")
    assert elsewhere.is_deleted
    assert elsewhere.note == "The service console-2 no longer exists."
    assert panel.html().index("Deleted") < panel.html().index(elsewhere.note)
    assert panel.text().startswith("service console-2 [Deleted]\n")
    assert panel.text().endswith(f"\n{elsewhere.note}")
    assert badge("Deleted") in panel.shown()["state"]
    for shown in (panel.html(), panel.text()):
        assert not [text for text in (url, "Succeeded", "Active", "1 ready", "requests") if text in shown]


def test_the_words_in_ipython(ws: Workspace, notebook: Notebook) -> None:
    shown = notebook.run(f"%mlmgmt service panel -n {NAME}")
    assert isinstance(shown.result, ServicePanel)
    assert f"service {NAME} [" in shown.out  # another test may have canceled its last operation
    assert "scoring URL" in shown.out
    assert "1 of 1 ready" in shown.out
    assert re.search(r" \d+ requests?, \d+ failed", shown.out)
    assert f"%mlmgmt service panel -n {NAME}" in notebook.shown(ws.services.get(NAME))
    missing = notebook.attempt("%mlmgmt service panel -n nobody").error
    assert isinstance(missing, NotFoundError)


def test_keys_are_in_no_notebook_that_nbclient_saves(ws: Workspace, environment: Path) -> None:
    """nbclient keeps the state of all widgets, also while a key is shown."""
    import nbformat
    from nbclient import NotebookClient

    cells = [
        f"from mlmgmt_nb import connect\nfrom mlmgmt_nb.notebook.panels import ServicePanel, DeployPanel\n"
        f"ws = connect()\nservice = ServicePanel(ws, {NAME!r})\nservice",
        "ask = {'act': 'key', 'which': 'Primary', 'use': 'reveal', 'view': 'v'}\n"
        "service._on_message(ask)\nimport time\nwhile service.is_working:\n    time.sleep(0.01)\n"
        "service.error or 'the key was shown', service.state, vars(service.state)",
        "DeployPanel(ws, 'https://host/model.pkl?sig=CANARY-OF-A-SAS', name='canary', driver='score.py')",
    ]
    v4: Any = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": environment}}).execute()
    del notebook.cells[2]["source"]  # which has what the user wrote
    saved = json.dumps(notebook)
    assert "'the key was shown'" in saved
    assert "application/vnd.jupyter.widget-state+json" in saved
    assert NAME in saved
    assert "model.pkl?***" in saved
    keys = ws.services.keys(NAME)
    token = (Path(os.environ["MLMGMT_HOME"]) / "token").read_text().strip()
    for secret in (keys.primary_key, keys.secondary_key, token, "CANARY-OF-A-SAS"):
        assert secret
        assert secret not in saved
