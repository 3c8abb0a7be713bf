"""Data that a driver collects, read back as a DataFrame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient

from mlmgmt_nb.client import Workspace, connect
from tests.conftest import ServiceProcess
from tests.support.azurite import azurite
from tests.support.waiting import eventually

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


def test_what_was_collected_comes_back(ws: Workspace, home: Path, tmp_path: Path) -> None:
    check_collection(ws, tmp_path)
    (file,) = home.rglob("inputs/**/data.csv")
    header, first, *rest = file.read_text().splitlines()
    stamp, _, others = first.partition(",")
    on_the_second = f"{stamp.partition('.')[0]},{others}"  # as it may have been written, once in a million rows
    file.write_text("\n".join([header, on_the_second, *rest, ""]))
    assert ws.services.data("collects", identifier="inputs")["$Timestamp"].dt.microsecond.tolist()[0] == 0
    ws.services.delete("collects")


def test_it_can_be_kept_in_azure(start_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """Two replicas append to the same blob, and recorded requests go there too; the connection string is a secret."""
    (tmp_path / "blobs").mkdir()
    with azurite(tmp_path / "blobs") as account:
        service = start_service(environment={"MLMGMT_DATA_STORAGE": account, "MLMGMT_RECORDING_STORAGE": account})
        with connect(home=service.home) as ws:
            check_collection(ws, tmp_path, num_replicas=2)
            files = service.get(f"/services/{ws.services.get('collects').id}/data")["value"]
            assert sorted(file["identifier"] for file in files) == ["answers", "inputs"]
            check_recording(ws, account)
            log = ws.services.logs("collects").text
        service.stop()
        blobs = BlobServiceClient.from_connection_string(account).get_container_client("modeldata")
        assert {blob.blob_type for blob in blobs.list_blobs()} == {"AppendBlob"}
    secret = account.partition("AccountKey=")[2].partition(";")[0]
    assert secret not in log
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert not any(secret.encode() in path.read_bytes() for path in kept)


def check_recording(ws: Workspace, account: str) -> None:
    """Check that requests are recorded in the account, and that what a service recorded is removed with it."""
    ws.services.update("collects", recording=True, num_replicas=1).result()
    image: Any = ws.services.get("collects").image
    service: Any = ws.services.create("records", image.id, recording=True).result()
    for _ in range(2):
        ws.services.run("collects", [{"a": 1}])
        ws.services.run("records", [{"a": 1}])
    for name in ("collects", "records"):
        eventually(lambda: len(ws.services.requests(name)) == 2, 30, "the recorded requests")  # noqa: B023 - at once
    container = BlobServiceClient.from_connection_string(account).get_container_client("requests")
    assert ws.services.requests("records")["answer"].tolist() == [1, 1]
    ws.services.delete(service)

    def left() -> list[str]:
        return [blob.name for blob in container.list_blobs() if service.id in blob.name]

    eventually(lambda: not left(), 30, "the end of what it recorded")
    assert len(ws.services.requests("collects")) == 2


def check_collection(ws: Workspace, tmp_path: Path, **more: Any) -> None:
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "weights.bin").write_text("w")
    options = {"model": tmp_path / "weights.bin", "driver": tmp_path / "score.py"}
    service = ws.deploy("collects", collect_model_data=True, **options, **more)  # type: ignore[arg-type]
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
