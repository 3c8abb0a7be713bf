"""What a deploy form does, against a real service; and that the code it writes does the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.errors import ConflictError, UsageError
from mlmgmt_nb.notebook.panels.deploy.kernel import Kernel, Variable
from mlmgmt_nb.notebook.panels.deploy.state import STEPS, DeployState
from mlmgmt_nb.notebook.panels.deploy.view import DeployPanel
from tests.integration.client.conftest import ECHO
from tests.integration.notebook.conftest import Notebook
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def ws(home: Path) -> Iterator[Workspace]:
    with connect(home=home) as ws:
        yield ws


@pytest.fixture(autouse=True)
def folder(environment: Path) -> Path:
    """Return a working folder whose driver opens its model when it is loaded."""
    (environment / "score.py").write_text(ECHO)
    return environment


def settings_of(service: ServiceResponse) -> dict[str, Any]:
    """Return what a service is like, whatever it is called and whenever it was made."""
    image, manifest = service.image, service.manifest
    assert image is not None
    assert manifest is not None
    return {
        "replicas": service.num_replicas,
        "autoscaler": service.auto_scaler,
        "reserved": service.container_resource_reservation,
        "concurrency": service.max_concurrent_requests_per_container,
        "collection": service.data_collection,
        "models": [(model.name, model.unpack) for model in service.models or ()],
        "assets": [(asset.id, asset.unpack) for asset in manifest.assets],
        "runtime": manifest.target_runtime.runtime_type,
        "names": (image.name == service.name, manifest.name == service.name),
    }


def test_the_form_and_its_code_do_the_same(ws: Workspace, notebook: Notebook, folder: Path) -> None:
    (folder / "helper.py").write_text("x = 1\n")
    (folder / "extra.bin").write_text("another")
    ws.models.register("extra.bin", "form-extra")
    state = DeployState(
        ws,
        ["model.bin", "form-extra"],
        name="form-1",
        driver="score.py",
        dependencies=["helper.py"],
        cpu="100m",
        max_concurrent_requests=3,
        collect_model_data=True,
        num_replicas=2,
    )
    assert state.unknown_models() == ["form-extra"]
    state.look_up_models()
    assert state.problems == {}
    seen: list[list[str]] = []
    state = _watched(state, seen)
    state.begin()
    state.deploy()
    assert state.failure is None
    assert [step.state for step in state.steps] == ["done"] * 4
    assert ["done", "done", "running", "waiting"] in seen
    progress = state.steps[2].progress
    assert progress is not None
    assert progress.state == "Succeeded"
    assert any("built in" in line for line in progress.lines)
    made = state.service
    assert made is not None
    assert ws.services.run("form-1", [1]) == {"model": "m", "got": [1]}

    # The line of the magic, as it is shown, but for the name.
    state.set("name", "form-2")
    notebook.run(state.line())
    assert settings_of(ws.services.get("form-2")) == settings_of(made)
    state.set("name", "form-3")
    service = notebook.run(state.code()).result
    assert settings_of(service) == settings_of(made)
    for name in ("form-1", "form-2", "form-3"):
        ws.services.delete(name)


def test_autoscaling_from_the_form_and_from_its_line(ws: Workspace, notebook: Notebook) -> None:
    scaling: dict[str, Any] = {"autoscale": True, "min_replicas": 1, "max_replicas": 2, "target_utilization": 50}
    state = DeployState(ws, "model.bin", name="form-auto", driver="score.py", **scaling)
    state.begin()
    state.deploy()
    made = state.service
    assert made is not None, state.failure
    notebook.run(state.line())  # updates it
    service = ws.services.get("form-auto")
    assert service.image != made.image
    assert service.auto_scaler == made.auto_scaler
    assert service.auto_scaler is not None
    assert service.auto_scaler.target_utilization == 50
    state.set("if_exists", "fail")
    state.begin()
    state.deploy()
    assert state.failure is not None
    assert state.failure.what == "service 'form-auto' already exists"
    with pytest.raises(ConflictError):
        raise notebook.attempt(state.line()).error or AssertionError
    ws.services.delete("form-auto")


def _watched(state: DeployState, seen: list[list[str]]) -> DeployState:
    state._on_change = lambda: seen.append([step.state for step in state.steps])
    return state


def test_a_double_click_deploys_once(ws: Workspace) -> None:
    panel = DeployPanel(ws, "model.bin", name="form-twice", driver="score.py")
    for _ in range(2):
        panel._on_message({"act": "deploy"})
    eventually(lambda: not panel.is_working, what="the clicks")
    assert panel.error is None
    made = eventually(lambda: panel.service, what="the service")
    assert [one.status for one in ws.deployments.list(service=made)] == ["Active"]
    assert panel.error is None
    ws.services.delete(made)


def test_what_is_wrong_is_not_sent(ws: Workspace) -> None:
    state = DeployState(ws, "no-such-model", name="form-bad", driver="score.py")
    assert state.problems == {}
    state.look_up_models()
    assert "neither a file nor the name or id" in state.problems["models"]
    with pytest.raises(UsageError, match="models: not valid"):
        state.begin()
    assert state.steps == ()
    state.set("models", "model.bin")
    assert state.problems == {}
    state.set("no-such-field", "x")
    assert "no-such-field" not in state.values
    with pytest.raises(UsageError, match="has no field 'replicas'"):
        DeployState(ws, replicas=1)
    with pytest.raises(UsageError, match="needs a file"):
        DeployState(ws, requirements=["scikit-learn"])


def test_a_failure_is_told_at_its_step(ws: Workspace, folder: Path) -> None:
    (folder / "score.py").write_text("def run(body:\n    return 1\n")
    state = DeployState(ws, name="form-fails", driver="score.py")
    state.begin()
    state.deploy()
    assert state.failure is not None
    assert "SyntaxError" in f"{state.failure.what} {state.failure.fix}"
    assert "failed" in [step.state for step in state.steps]
    assert not state.is_deploying
    panel = DeployPanel(ws, name="form-fails", driver="score.py")
    panel.state.steps, panel.state.failure = state.steps, state.failure
    assert "SyntaxError" in panel.text()
    assert 'role="alert"' in panel.html()
    ws.services.delete("form-fails")


def test_a_deployment_is_cancelled(ws: Workspace, folder: Path) -> None:
    (folder / "score.py").write_text("import time\ndef init():\n    time.sleep(600)\ndef run(body):\n    return 1\n")
    state = DeployState(ws, name="form-slow", driver="score.py")
    with pytest.raises(UsageError, match="no operation can be canceled"):
        state.cancel()
    state.begin()
    with pytest.raises(UsageError, match="already"):
        state.begin()
    thread = threading.Thread(target=state.deploy)
    thread.start()
    eventually(lambda: state.steps[-1].progress is not None, 60.0, "the start of the service")
    state.poll()
    state.cancel()
    thread.join(60)
    assert not thread.is_alive()
    assert state.failure is not None
    assert "Cancelled" in state.failure.what
    assert [(step.name, step.state) for step in state.steps] == [
        ("manifest", "done"),  # no model is registered
        ("image", "done"),
        ("service", "failed"),
    ]
    ws.services.delete("form-slow")


def test_the_driver_is_checked_as_it_would_be_served(ws: Workspace, folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "model.bin").rename(folder / "models" / "model.bin")
    state = DeployState(ws, "models/model.bin", name="form-check", driver="score.py")
    state.check_driver()  # which opens its model beside it
    assert state.checked.startswith("score.py: run(body), init\nloaded and checked in")
    state.set("models", "registered-elsewhere")
    state.check_driver()
    assert state.checked.splitlines()[1:] == [
        "compiled, not loaded",
        "not loaded: it needs files or packages that only the service has",
    ]
    state.set("models", "")
    with pytest.raises(UsageError, match=r"score\.py, line 5: `with open\(.*FileNotFoundError") as caught:
        state.check_driver()
    assert caught.value.fix == "Correct that line."
    assert state.checked == ""
    state.set("driver", "https://host/score.py")
    with pytest.raises(UsageError, match="cannot be checked here"):
        state.check_driver()


def test_a_schema_is_part_of_the_check(ws: Workspace, folder: Path) -> None:
    from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema

    (folder / "score.py").write_text("def run(number):\n    return number * 2\n")
    inputs = {"number": SampleDefinition(DataTypes.STANDARD, 21)}
    generate_schema(lambda number: number, inputs, filepath=folder / "in.json")
    state = DeployState(ws, name="form-schema", driver="score.py", schema="in.json")
    checked = state.check_driver()
    assert (checked.sample, checked.result) == ({"number": 21}, 42)


def test_a_key_in_a_url_is_sent_and_not_shown(ws: Workspace, folder: Path) -> None:
    url = f"{(folder / 'model.bin').as_uri()}?sig=CANARY"
    panel = DeployPanel(ws, url, name="form-sas", driver="score.py")
    shown = [panel.text(), panel.html(), repr(panel.shown()), panel.state.line(), panel.state.code()]
    assert not [text for text in shown if "CANARY" in text]
    assert "model.bin?***" in panel.state.code()
    assert panel.state.values["models"] == url


def test_the_words_in_ipython(notebook: Notebook, ws: Workspace) -> None:
    opened = notebook.run("%mlmgmt service form -n form-words -m model.bin -f score.py")
    assert isinstance(opened.result, DeployPanel)
    assert "name                    form-words" in opened.out
    assert "%mlmgmt service create -n form-words -m model.bin -f score.py -z 1" in opened.out
    unknown = notebook.run("%mlmgmt service form -i nobody-registered-it")
    assert "models: 'nobody-registered-it' is neither a file nor the name or id of" in unknown.out
    empty = notebook.run("%mlmgmt service form")
    assert "fields to correct:" in empty.out
    assert "driver: Enter the driver, such as score.py, or one model that needs none" in empty.out
    assert "Fields to correct:" in unknown.result.html()
    assert "Fields to correct:" not in empty.result.html(), "nobody has typed anything yet"
    empty.result._take({"view": "here", "values": {"name": "form-words"}})
    assert "Fields to correct:" in empty.result.html()
    assert STEPS[0] not in [step.name for step in opened.result.state.steps]


def test_a_fitted_object_is_deployed_without_a_driver(ws: Workspace) -> None:
    rows = np.array([[0.0], [1.0]])
    kernel = Kernel({"clf": LinearRegression().fit(rows, [0.0, 2.0]), "rows": rows})
    state = DeployState(ws, kernel.value(Variable("clf")), kernel=kernel, name="form-object", sample=rows)
    assert (state.values["models"], state.values["sample"]) == ("{clf}", "{rows}")
    assert state.suggestions()["sample"] == ["{rows}"]
    assert state.line() == "%mlmgmt service create -n form-object -m {clf} --sample {rows} -z 1" + _place(ws)
    with pytest.raises(UsageError, match="the form has no driver to check"):
        state.check_driver()
    state.begin()
    state.deploy()
    assert state.failure is None
    assert [step.state for step in state.steps] == ["done"] * len(STEPS)
    assert ws.services.run("form-object", rows) == pytest.approx([0.0, 2.0])
    ws.services.delete("form-object")


def _place(ws: Workspace) -> str:
    return f" --home {ws.connect_arguments['home']}"


def test_an_object_without_a_variable_is_refused(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="model: the form needs a variable of the notebook"):
        DeployState(ws, LinearRegression(), name="form-object")
