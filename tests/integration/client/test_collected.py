"""Data that a driver collects, read back as a DataFrame."""

from __future__ import annotations

from pathlib import Path

from mlmgmt_nb.client import Workspace
from tests.conftest import eventually

DRIVER = """\
import json
import pandas as pd
from azureml.datacollector import ModelDataCollector

def init():
    global inputs, answers
    inputs = ModelDataCollector("weights", identifier="inputs")
    answers = ModelDataCollector("weights", identifier="answers", feature_names=["sum"])

def run(body):
    frame = pd.DataFrame(json.loads(body))
    inputs.collect(frame, user_correlation_id="mine")
    answers.collect([float(frame.sum(axis=None))])
    return 1
"""


def test_what_was_collected_comes_back(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "weights.bin").write_text("w")
    options = {"model": tmp_path / "weights.bin", "driver": tmp_path / "score.py"}
    service = ws.deploy("collects", collect_model_data=True, **options)  # type: ignore[arg-type]
    assert ws.services.data(service).empty
    for value in (1, 2):
        ws.services.run(service, [{"a": value, "b": 0.5}])
    eventually(lambda: len(ws.services.data("collects")) == 4, what="the rows")
    rows = ws.services.data("collects")
    assert rows["$Timestamp"].is_monotonic_increasing
    assert str(rows["$Timestamp"].dt.tz) == "UTC"
    inputs = ws.services.data("collects", model="weights", identifier="inputs")
    assert inputs[["a", "b"]].to_dict("list") == {"a": [1, 2], "b": [0.5, 0.5]}
    assert inputs["$CorrelationId"].tolist() == ["mine", "mine"]
    assert inputs["$RequestId"].is_unique
    answers = ws.services.data("collects", identifier="answers")
    assert answers["sum"].tolist() == [1.5, 2.5]
    assert answers["$RequestId"].tolist() == inputs["$RequestId"].tolist()
    assert ws.services.data("collects", model="other").empty
    ws.services.delete(service)
