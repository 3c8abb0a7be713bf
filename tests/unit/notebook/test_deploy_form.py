"""The form of a deployment: what is wrong with it, and the code that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mlmgmt_nb.client import connect
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.flags import COMMON, WaitingArguments
from mlmgmt_nb.commands.grammar import Flag, parse_flags
from mlmgmt_nb.notebook.line import read_line
from mlmgmt_nb.notebook.panels.deploy.code import magic_line, python_code
from mlmgmt_nb.notebook.panels.deploy.form import DEFAULTS, arguments, masked, problems, suggestions
from mlmgmt_nb.notebook.panels.deploy.kernel import Kernel, Variable
from mlmgmt_nb.notebook.panels.deploy.state import DeployState

(CREATE,) = [command for command in COMMANDS if command.words == ("service", "create")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with the files that a form names."""
    monkeypatch.chdir(tmp_path)
    for name in ("score.py", "iris.pkl", "my model.pkl", "schema.json", "requirements.txt", "conda.yml", "helper.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.py").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    return tmp_path


def filled(**values: Any) -> dict[str, Any]:
    return {**DEFAULTS, "name": "iris", "driver": "score.py", **values}


def wrong(**values: Any) -> dict[str, str]:
    return problems(filled(**values), {"known": True, "unknown": False}.get)


def test_a_form_that_is_right() -> None:
    assert wrong() == {}
    assert wrong(models="iris.pkl\nfolder\nhttps://host/a.pkl\nknown\nnot-asked-yet", dependencies="helper.py") == {}
    # What is not used is not judged.
    assert wrong(num_replicas="many", autoscale=True) == {}
    assert wrong(target_utilization="many") == {}


def test_an_empty_form_names_what_is_needed() -> None:
    assert problems(DEFAULTS, lambda _: None) == {
        "name": "Enter a name of 3 to 32 characters: a-z, 0-9, '-' and '.', with a letter or digit at both ends.",
        "driver": "Enter the driver, such as score.py, or one model that needs none, such as {clf}.",
    }


@pytest.mark.parametrize(
    ("values", "field", "problem"),
    [
        ({"name": "Iris"}, "name", "Enter a name of 3 to 32 characters"),
        ({"driver": "scorer.py"}, "driver", "File not found: scorer.py. Check the path"),
        ({"driver": "folder"}, "driver", "folder is a folder. Enter a file."),
        ({"driver": "empty.py"}, "driver", "The file empty.py is empty."),
        ({"schema": "no.json"}, "schema", "File not found: no.json."),
        ({"requirements": "no.txt"}, "requirements", "File not found"),
        ({"conda": "no.yml"}, "conda", "File not found"),
        ({"dependencies": "helper.py\nno.py"}, "dependencies", "File not found: no.py."),
        ({"dependencies": "folder/../helper.py\nhelper.py"}, "dependencies", "'helper.py' is listed twice"),
        ({"models": "iris.pkl\nunknown"}, "models", "'unknown' is neither a file nor the name or id of"),
        ({"num_replicas": "two"}, "num_replicas", "Enter a whole number of at least 0."),
        ({"num_replicas": "-1"}, "num_replicas", "Enter a whole number of at least 0."),
        ({"autoscale": True, "max_replicas": "0"}, "max_replicas", "Enter a whole number of at least 1."),
        ({"autoscale": True, "min_replicas": "3", "max_replicas": "2"}, "max_replicas", "Enter at least 3"),
        ({"autoscale": True, "target_utilization": "101"}, "target_utilization", "from 0 to 100"),
        ({"cpu": "half"}, "cpu", "Enter CPUs in Kubernetes notation"),
        ({"memory": "1 GB"}, "memory", "Enter bytes in Kubernetes notation"),
        ({"max_concurrent_requests": "0"}, "max_concurrent_requests", "Enter a whole number of at least 1."),
    ],
)
def test_what_is_wrong_is_told_at_its_field(values: dict[str, Any], field: str, problem: str) -> None:
    found = wrong(**values)
    assert list(found) == [field]
    assert problem in found[field]


# Objects of the notebook


FRAME = pd.DataFrame({"age": [1.0, 2.0], "visits": [0.0, 1.0]})
NOTEBOOK: dict[str, Any] = {
    "clf": LinearRegression().fit(FRAME, [0, 1]),
    "unfitted": LinearRegression(),
    "X": FRAME,
    "wider": FRAME.assign(more=1),
    "rows": FRAME.to_numpy(),
    "fee": test_an_empty_form_names_what_is_needed,
    "LinearRegression": LinearRegression,
    "_hidden": LinearRegression().fit(FRAME, [0, 1]),
    "text": "clf",
}
KERNEL = Kernel(NOTEBOOK)


def packaged(**values: Any) -> dict[str, Any]:
    return {**DEFAULTS, "name": "iris", "models": "{clf}", "sample": "{X}", **values}


def test_objects_and_samples_are_offered() -> None:
    assert KERNEL.models() == ["{clf}"]
    assert KERNEL.samples(None) == ["{X}", "{wider}", "{rows}"]
    assert KERNEL.samples(Variable("clf")) == ["{X}", "{rows}"]
    assert KERNEL.methods(Variable("clf")) == ["predict"]
    assert KERNEL.variable_of(FRAME) == Variable("X")


def test_an_object_needs_no_driver() -> None:
    assert problems(packaged(), lambda _: None, KERNEL) == {}
    assert problems(packaged(models="{fee}", sample=""), lambda _: None, KERNEL) == {}
    assert problems(packaged(models="iris.pkl", sample=""), lambda _: None, KERNEL) == {}


@pytest.mark.parametrize(
    ("values", "field", "problem"),
    [
        ({"models": "{clv}"}, "models", "The notebook has no variable clv."),
        ({"sample": "{Y}"}, "sample", "The notebook has no variable Y."),
        ({"sample": "rows.csv"}, "sample", "Enter a variable of the notebook, such as {X}."),
        ({"sample": ""}, "sample", "Enter rows that the model takes, such as {X}."),
        ({"driver": "score.py", "sample": ""}, "driver", "Clear the driver: an object of the notebook needs none."),
        ({"driver": "score.py", "models": "iris.pkl"}, "sample", "Clear the sample: only a model without a driver"),
        (
            {"models": "known", "sample": ""},
            "driver",
            "Enter the driver, such as score.py, or one model that needs none",
        ),
    ],
)
def test_a_problem_of_an_object_is_told_at_its_field(values: dict[str, Any], field: str, problem: str) -> None:
    found = problems(packaged(**values), {"known": True}.get, KERNEL)
    assert list(found) == [field]
    assert problem in found[field]


def test_an_object_is_a_name_in_the_code() -> None:
    given = arguments(packaged(method="predict"))
    assert given == {
        "name": "iris",
        "model": Variable("clf"),
        "sample": Variable("X"),
        "method": "predict",
        "num_replicas": 1,
    }
    line = magic_line(given, frozenset(), {})
    assert line == "%mlmgmt service create -n iris -m {clf} --sample {X} --method predict -z 1"
    assert "    model=clf,\n    sample=X,\n" in python_code(given, {})


FORMS = [
    filled(models="iris.pkl"),
    filled(models="my model.pkl\nregistered-one\nhttps://host/a.pkl?sig={x}&y='z\"", dependencies="helper.py\nfolder"),
    filled(schema="schema.json", requirements="requirements.txt", runtime="spark-py", if_exists="fail"),
    filled(
        autoscale=True,
        min_replicas="0",
        max_replicas="3",
        target_utilization="50",
        refresh_period_in_seconds="2",
        cpu="500m",
        memory="300Mi",
        max_concurrent_requests="5",
        collect_model_data=True,
        compute_resource_id="docker",
        conda="conda.yml",
    ),
]


def test_the_arguments_of_deploy() -> None:
    assert arguments(FORMS[0]) == {"name": "iris", "model": "iris.pkl", "driver": "score.py", "num_replicas": 1}
    given = arguments(FORMS[3])
    assert "num_replicas" not in given
    assert given["autoscaler"] == {
        "autoscale_enabled": True,
        "min_replicas": 0,
        "max_replicas": 3,
        "target_utilization": 50,
        "refresh_period_in_seconds": 2,
    }
    assert (given["cpu"], given["max_concurrent_requests"], given["collect_model_data"]) == ("500m", 5, True)
    assert "model" not in given


@pytest.mark.parametrize("form", FORMS)
def test_the_line_is_read_as_what_the_form_says(form: dict[str, Any]) -> None:
    given = arguments(form)
    line = magic_line(given, frozenset({"registered-one"}), {"home": "/a b/c"})
    tokens = read_line(line.removeprefix("%mlmgmt"), eval).tokens
    read: Any = parse_flags(CREATE, tokens[2:], [Flag("--home", "its folder")], "%mlmgmt service create")
    scaler = given.get("autoscaler", {})
    assert vars(read) == {
        **vars(WaitingArguments()),
        **{name: None for name in vars(read) if name.startswith("record_")},  # the form has no recording
        "service_name": "iris",
        "image_id": None,
        "reason": None,
        "driver": "score.py",
        "runtime": given.get("runtime", "python"),
        "model_id": ["registered-one"] if "registered-one" in form["models"] else (),
        "model_file": [line for line in form["models"].splitlines() if line != "registered-one"] or (),
        "schema_file": given.get("schema"),
        "conda_file": given.get("conda"),
        "any_python": False,
        "new_version": False,
        "requirements": given.get("requirements"),
        "dependency": given.get("dependencies", ()),
        "replicas": given.get("num_replicas"),
        "autoscale_enabled": scaler.get("autoscale_enabled"),
        "autoscale_min_replicas": scaler.get("min_replicas"),
        "autoscale_max_replicas": scaler.get("max_replicas"),
        "autoscale_target_utilization": scaler.get("target_utilization"),
        "autoscale_refresh_period_seconds": scaler.get("refresh_period_in_seconds"),
        "cpu": given.get("cpu"),
        "memory": given.get("memory"),
        "replica_max_concurrent_requests": given.get("max_concurrent_requests"),
        "collect_model_data": given.get("collect_model_data"),
        "enable_app_insights": None,
        "env": (),
        "env_file": (),
        "secret": (),
        "remove_env": (),
        "compute_resource_id": given.get("compute_resource_id"),
        "if_exists": given.get("if_exists", "update"),
        "sample": None,
        "method": None,
        "example": True,
        "tolerance": 1e-6,
        "home": "/a b/c",
    }


@pytest.mark.parametrize(
    ("compute", "variable", "typed", "named"),
    [
        (None, None, None, None),
        ("docker", None, None, "docker"),
        (None, "docker", None, "docker"),
        (None, None, "docker", "docker"),
        ("docker", None, "local", "local"),
        ("docker", None, "team", "team"),
    ],
)
def test_the_line_names_the_compute(
    compute: str | None, variable: str | None, typed: str | None, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is None:
        monkeypatch.delenv("MLMGMT_COMPUTE", raising=False)
    else:
        monkeypatch.setenv("MLMGMT_COMPUTE", variable)
    with connect(base_url="http://127.0.0.1:1/accounts/a", token="t", compute=compute) as ws:
        state = DeployState(ws, name="iris", driver="score.py")
        if typed is not None:
            state.set("compute_resource_id", typed)
        tokens = read_line(state.line().removeprefix("%mlmgmt"), eval).tokens
        read: Any = parse_flags(CREATE, tokens[2:], COMMON, "%mlmgmt service create")
        assert read.compute_resource_id == named
        code = state.code()
    assert (f"compute_resource_id={typed!r}" in code) == (typed is not None)
    assert (f"compute={compute!r}" in code) == (compute is not None)


def test_a_form_of_a_profile_names_the_compute() -> None:
    with connect(base_url="http://127.0.0.1:1/accounts/a", token="t", compute="local") as ws:
        state = DeployState(ws, name="iris", driver="score.py", compute_resource_id="docker")
        assert "--compute-resource-id docker" in state.line()
        state.set("compute_resource_id", "local")
        assert "--compute-resource-id local" in state.line()


@pytest.mark.parametrize("form", FORMS)
def test_the_python_calls_deploy_with_what_the_form_says(form: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    class Recorder:
        def deploy(self, name: str, **given: Any) -> str:
            called.append({"name": name, **given})
            return "made"

    def connect(**given: str) -> Recorder:
        called.append(given)
        return Recorder()

    monkeypatch.setattr("mlmgmt_nb.client.connect", connect)
    scope: dict[str, Any] = {}
    exec(python_code(arguments(form), {"base_url": "https://host/accounts/a"}), scope)
    assert called == [{"base_url": "https://host/accounts/a"}, arguments(form)]
    assert scope["service"] == "made"


def test_keys_in_urls_are_not_shown() -> None:
    sas = "https://host/a.pkl?sv=1&sig=CANARY%3D"
    assert masked(f"iris.pkl\n{sas}\nhttps://host/b") == "iris.pkl\nhttps://host/a.pkl?***\nhttps://host/b"
    given = arguments(filled(models=sas))
    assert given["model"] == sas, "it is sent as it is"
    for code in (magic_line(given, frozenset(), {}), python_code(given, {})):
        assert masked(code) == code.replace("sv=1&sig=CANARY%3D", "***")
    assert masked("is it here? yes") == "is it here? yes"


def test_folders_are_not_searched_while_one_types(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", lambda _: pytest.fail("it is searched"))
    assert wrong(models="/\nfolder", dependencies="folder") == {}


def test_suggestions_are_files_of_the_folder(folder: Path) -> None:
    found = suggestions(folder)
    assert found["driver"] == ["empty.py", "helper.py", "score.py"]
    assert found["models"] == ["iris.pkl", "my model.pkl"]
    assert (found["conda"], found["schema"]) == (["conda.yml"], ["schema.json"])
    assert suggestions(folder / "nowhere") == {}
