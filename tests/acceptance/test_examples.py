"""The examples in docstrings, run unchanged on one service."""

from __future__ import annotations

import doctest
import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import mlmgmt_nb
from mlmgmt_nb import connect, schema
from tests.conftest import ServiceProcess
from tests.support.searches import long_search

PACKAGE = Path(mlmgmt_nb.__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

DRIVER = """
import json, pickle

def init():
    global model
    with open("iris.pkl", "rb") as file:
        model = pickle.load(file)

def run(http_body):
    return model.predict(json.loads(http_body)).tolist()
"""

MUST_HAVE = frozenset(
    {
        *("connect", "Workspace.deploy", "Models.register", "Manifests.create", "Images.create", "Services.update"),
        *(
            "ServiceScoring.run",
            "ServiceScoring.test",
            "Poller",
            "Pager",
            "ScoringReport",
            "ScoringReport.assert_ok",
            "SignIn",
        ),
        *("Application", "generate_schema", "batched", "MlmgmtError", "UsageError", "OperationTimeout", "DriverError"),
    }
)
"""Names of the examples that a new user sees first."""


def _found() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    known: dict[str, Any] = {name: getattr(schema, name) for name in schema.__all__}
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text():
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            module = importlib.import_module(name)
            yield from (test for test in finder.find(module, extraglobs={**known, "pd": pd}) if test.examples)


EXAMPLES = {test.name.removeprefix("mlmgmt_nb."): test for test in _found()}


@pytest.fixture(scope="module")
def workspace(
    shared_service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[mlmgmt_nb.Workspace]:
    """Yield an account with a model, a manifest, an image and a service, all named `iris`, with files in the folder."""
    folder = tmp_path_factory.mktemp("examples")
    model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
    (folder / "iris.pkl").write_bytes(pickle.dumps(model))
    (folder / "score.py").write_text(DRIVER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLMGMT_HOME", str(shared_service.home))
        with connect(account="examples") as ws:
            ws.deploy("iris", model="iris.pkl", driver="score.py", tags=["prod"])
            yield ws
            ws.services.delete("iris")


def _param(name: str) -> Any:
    comes_first = any(name.endswith(f".{one}") for one in MUST_HAVE)
    return pytest.param(name, marks=[] if comes_first else long_search)


@pytest.mark.parametrize("name", [_param(name) for name in EXAMPLES])
def test_an_example_is_as_it_stands(name: str, workspace: mlmgmt_nb.Workspace) -> None:
    test = EXAMPLES[name]
    test.globs["ws"] = workspace
    said: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    assert not said, "".join(said)


def test_what_a_user_meets_first_has_an_example() -> None:
    assert not {name for name in MUST_HAVE if not any(found.endswith(f".{name}") for found in EXAMPLES)}


def test_a_wrong_example_is_found() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "made up", None, 0)
    said: list[str] = []
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append).failed == 1
    assert "Expected:\n    3\nGot:\n    2" in "".join(said)
