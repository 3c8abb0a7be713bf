"""Deployments without a driver, on the embedded service: the object's answer, at a URL."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mlmgmt_nb.client import Poller, Workspace
from mlmgmt_nb.commands.output.formats import formatted
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import PackagingError, UsageError

DEADLINE = 120.0


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [1.0, None, 8.0, 9.0],
            "plan": ["A", "B", "A", None],
            "since": pd.date_range("2024-01-31", periods=4, tz="Europe/Berlin"),
            "colour": pd.Categorical(["red", "blue", None, "red"]),
        }
    )


def pipeline() -> Any:
    """Return a pipeline with a transformer of a class that no module has, as those of notebooks."""
    from sklearn.base import BaseEstimator, TransformerMixin

    class TestCounts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any = None) -> Any:
            self.fitted_ = True
            return self

        def transform(self, X: Any) -> Any:
            codes = X.colour.cat.codes.to_numpy()
            return np.column_stack([X.age.fillna(0), X.plan.notna(), X.since.dt.day, codes])

    return make_pipeline(TestCounts(), LogisticRegression(C=3.0)).fit(rows(), ["low", "low", "high", "high"])


def test_a_pipeline_of_the_notebook_is_served(ws: Workspace, tmp_path: Path) -> None:
    model = pipeline()
    service = ws.deploy(
        "churn",
        model=model,
        sample=rows(),
        method="predict_proba",
        metadata={"metrics": {"auc": 0.93}},
        timeout=DEADLINE,
    )
    assert ws.services.run(service, rows()) == model.predict_proba(rows()).tolist()
    registered = ws.models.get("churn")
    assert set(registered.tags or ()) >= {"class=Pipeline", "parameters.C=3.0", "metrics.auc=0.93"}
    assert ws.models.list(tag="metrics.auc=0.93").to_frame()["name"].tolist() == ["churn"]
    assert service.image
    assert {e.status_code for e in ws.audit.list(action="POST /computes/{id}/prepare")} == {204}
    assert "has all of them and runs the driver" in ws.images.build_log(service.image).text
    # taken elsewhere, the image has all that it needs
    context = ws.images.export_context(service.image, tmp_path / "context")
    assert "scikit-learn==" in (context / "requirements.txt").read_text()
    again = ws.deploy("churn", model=model, sample=rows(), timeout=DEADLINE)
    assert ws.services.run(again, rows()) == model.predict(rows()).tolist()
    ws.services.delete(service)


def test_a_function_is_called_by_its_arguments(ws: Workspace) -> None:
    def price(age: int, plan: str = "A") -> float:
        return age * (2.0 if plan == "A" else 1.0)

    ws.deploy("price", model=price, sample={"age": 41, "plan": "B"}, timeout=DEADLINE)
    assert ws.services.run("price", {"age": 3}) == 6.0
    assert ws.services.swagger("price")["definitions"]["ServiceInput"]["example"] == {"age": 41, "plan": "B"}
    ws.services.delete("price")


def test_a_service_that_answers_otherwise_is_undone(ws: Workspace) -> None:
    def where(text: str) -> bool:
        return os.path.exists("mlmgmt-app.json")  # which only a service has

    with pytest.raises(PackagingError, match="'where' does not return the same answers as the object") as raised:
        ws.deploy("where", model=where, sample={"text": "x"}, timeout=DEADLINE)
    assert [str(difference) for difference in raised.value.proof.differences] == ["the answer: True instead of False"]
    assert ws.services.find("where") is None
    assert "image 'where' version 1, manifest 'where' version 1, model 'where' version 1 were withdrawn" in str(
        raised.value
    )
    assert not list(ws.models.list(name="where"))


def test_a_service_that_fails_for_the_sample_is_undone(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLY_IN_THE_NOTEBOOK", "x")

    def variable(count: int) -> str:
        return os.environ["ONLY_IN_THE_NOTEBOOK"] * count

    with pytest.raises(PackagingError, match="KeyError: 'ONLY_IN_THE_NOTEBOOK'; it was deleted") as raised:
        ws.deploy("variable", model=variable, sample={"count": 2}, timeout=DEADLINE)
    assert "in variable" in str(raised.value)  # of the traceback, since the log is deleted
    assert ws.services.find("variable") is None
    assert not list(ws.models.list(name="variable"))
    variables = {"ONLY_IN_THE_NOTEBOOK": "x"}
    ws.deploy("variable", model=variable, sample={"count": 2}, environment=variables, timeout=DEADLINE)
    ws.services.delete("variable")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": None}, "a service without a model requires one"),
        ({"model": "no-such-model"}, "the model 'no-such-model', which is not a file of this machine, needs one"),
        ({"model": "https://example.com/model.onnx"}, "is not a file of this machine, needs one"),
        ({"model": ["a.pkl", "b.pkl"]}, "several models require one"),
        ({"model": print, "schema": "schema.json"}, "the schema describes one"),
        ({"model": print, "runtime": "spark-py"}, "runtime 'spark-py' needs one"),
        ({"model": "model.bin", "driver": "score.py", "sample": [1]}, "sample: only models without a driver use it"),
        ({"model": "model.bin", "driver": "score.py", "method": "run"}, "method: only models without a driver use it"),
        (
            {"model": "model.bin", "driver": "score.py", "tolerance": 0.1},
            "tolerance: only models without a driver use it",
        ),
    ],
)
def test_what_needs_a_driver_says_so(ws: Workspace, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ws.deploy("refused", **arguments)
    assert ws.services.find("refused") is None


def test_a_pickle_of_another_version_is_a_warning_of_its_operation_and_service(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    state = model.__getstate__() | {"_sklearn_version": "1.0"}
    with monkeypatch.context() as older:
        older.setattr(LogisticRegression, "__getstate__", lambda self: state)  # as an older release writes it
        (tmp_path / "old.pkl").write_bytes(pickle.dumps(model))
    (tmp_path / "score.py").write_text(
        "import json, pickle\ndef init():\n    global model\n    model = pickle.load(open('old.pkl', 'rb'))\n"
        "def run(body):\n    return model.predict(json.loads(body))\n"
    )
    operations: list[Poller[Any]] = []
    with pytest.warns(UserWarning, match="InconsistentVersionWarning.*1\\.0"):
        ws.deploy(
            "old",
            model=tmp_path / "old.pkl",
            driver=tmp_path / "score.py",
            timeout=DEADLINE,
            on_operation=operations.append,
        )
    service = ws.services.get("old")
    assert isinstance(service, Service)
    assert "InconsistentVersionWarning" in (service.warning or "")
    assert ws.operations.get(operations[-1].operation_id).warning == service.warning
    assert "InconsistentVersionWarning" in formatted(service, "table")
    ws.services.delete("old")


def test_a_kernel_with_other_versions_says_so_in_one_line(ws: Workspace, home: Path, tmp_path: Path) -> None:
    """In `service show`, and in an update to the former image."""

    def total(values: list[float]) -> float:
        return float(np.sum(values))

    first = ws.deploy("total", model=total, sample={"values": [1.0, 2.0]}, timeout=DEADLINE)
    assert first.image
    other = tmp_path / "numpy-0.1.dist-info"  # which a Python finds before the installed one
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    line = (
        "mlmgmt: warning: versions of this kernel differ from those of the model's package: "
        f"numpy {np.__version__} (here 0.1)\n"
    )
    for words in (["show"], ["update", "--image-id", first.image.id]):
        command = [sys.executable, "-m", "mlmgmt_nb.cli", "service", *words, "-n", "total"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MLMGMT_HOME": str(home)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, line)
    ws.services.delete("total")
