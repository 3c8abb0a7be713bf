"""Drivers that ask for more than a body: raw HTTP, coroutines, batches, data collection."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

from mlmgmt_nb.scoring.schema import DataTypes, SampleDefinition, generate_schema
from tests.support.waiting import eventually

RAW = """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse

@rawhttp
def run(request):
    assert isinstance(request, AMLRequest)
    if request.method == "GET":
        return AMLResponse(request.full_path.encode(), 200)
    if request.method == "PUT":
        return {"json": request.json, "args": request.args, "type": request.content_type, "url": request.url}
    if request.method == "DELETE":
        return AMLResponse({"gone": True}, 410, {"X-One": "a, b", "Content-Length": "7"}, json_str=True)
    return AMLResponse(bytes(reversed(request.get_data(False))), 201, {"Content-Type": "application/x-reversed"})
"""
ASYNC = """
import asyncio
started = 0
async def run(body):
    global started
    started += 1
    while started < int(body):
        await asyncio.sleep(0.01)
    return started
"""
THREADED = """
import threading
from mlmgmt_nb.scoring.threads import threaded
ready = threading.Barrier(3)

@threaded(3)
def run(body):
    print("waits", end="")
    ready.wait(20)
    print(" no more")
    return int(body)
"""
COLLECTS = """
from azureml.datacollector import ModelDataCollector

def init():
    global inputs, predictions
    inputs = ModelDataCollector("model.pkl", identifier="inputs")
    predictions = ModelDataCollector("model.pkl", identifier="predictions", feature_names=["p", "q"])

def run(df):
    inputs.collect(df)
    predictions.collect(df.to_numpy()[:, :2] * 2, "mine")
    predictions.collect([0.5, "text, with comma"])
    return len(df.columns)
"""


def test_raw_http(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    replica = spawn(folder(RAW), name="raw").ready()
    url, session = f"{replica.url}/api/v1/service/raw/score", replica.session
    assert session.get(url, params={"a": "1"}).content == b"/api/v1/service/raw/score?a=1"
    response = session.post(url, data=b"abc\xff")
    assert (response.status_code, response.content) == (201, b"\xffcba")
    assert response.headers["content-type"] == "application/x-reversed"
    answer = session.put(url, params={"b": "x y"}, json=[1]).json()
    assert answer == {"json": [1], "args": {"b": "x y"}, "type": "application/json", "url": f"{url}?b=x+y"}
    response = session.delete(url)
    assert (response.status_code, response.json()) == (410, {"gone": True})
    assert response.headers["X-One"] == "a, b"
    assert len(response.headers["x-ms-request-id"]) == 36
    assert session.request("TRACE", url).status_code == 405


def test_coroutines_run_side_by_side(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    """Each of three calls waits until all three have been started."""
    replica = spawn(folder(ASYNC)).ready()
    with ThreadPoolExecutor(3) as pool:
        answers = pool.map(lambda _: requests.post(f"{replica.url}/score", "3", timeout=20).json(), range(3))
        assert list(answers) == [3, 3, 3]
    replica.send({"type": "drain", "seconds": 5})
    assert replica.process.wait(20) == 0


def test_threads_run_side_by_side(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    """Each of three calls waits until all three run, and a further one takes its turn."""
    replica = spawn(folder(THREADED)).ready()
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda n: requests.post(f"{replica.url}/score", str(n), timeout=30).json(), range(6))
        assert list(answers) == list(range(6))
    assert replica.log.count("] waits no more\n") == 6
    stats = replica.report("stats")
    while stats["requests"] < 6 or stats["busy"]:
        stats = replica.report("stats")
    replica.send({"type": "drain", "seconds": 5})
    assert replica.process.wait(20) == 0


def test_batches(drivers: Path, spawn: Callable[..., Any]) -> None:
    replica = spawn(drivers / "batched").ready()

    def score(x: float) -> tuple[int, Any]:
        response = requests.post(f"{replica.url}/score", json={"df": [{"x": x}, {"x": x + 100}]}, timeout=20)
        return response.status_code, response.json()

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            answers = list(pool.map(score, range(8)))
            assert answers == [(200, [2.0 * x, 2.0 * x + 200]) for x in range(8)]
        # a failing request does not affect the others
        answers = list(pool.map(score, range(10, 18)))
    failed = [(status, answer) for x, (status, answer) in zip(range(10, 18), answers, strict=True) if x == 13]
    assert failed[0][0] == 500
    assert failed[0][1]["message"] == "ValueError: unlucky"
    others = [answer for x, answer in zip(range(10, 18), answers, strict=True) if x != 13]
    assert others == [(200, [2.0 * x, 2.0 * x + 200]) for x in range(10, 18) if x != 13]
    stats = replica.report("stats")
    while stats["requests"] < 48 or stats["busy"] or stats["waiting"]:  # an earlier report may have been sent meanwhile
        stats = replica.report("stats")
    assert stats["failures"] == 1


def test_calls_are_put_together(folder: Callable[..., Path], spawn: Callable[..., Any]) -> None:
    # Each call takes a moment, as with real models: requests that arrive meanwhile are combined, however unevenly.
    source = (
        "import time\n"
        "from mlmgmt_nb.scoring.batching import batched\n"
        "calls = 0\n"
        "@batched(max_requests=8, max_wait=0.5)\n"
        "def run(x):\n    global calls\n    calls += 1\n    time.sleep(0.05)\n    return [calls] * len(x)\n"
    )
    app = folder(source)
    sample = SampleDefinition(DataTypes.NUMPY, np.array([1.5]))
    generate_schema(lambda x: x, {"x": sample}, filepath=app / "service_schema.json")
    replica = spawn(app).ready()
    with ThreadPoolExecutor(8) as pool:
        seen: list[int] = []
        for _ in range(4):
            seen += pool.map(
                lambda n: requests.post(f"{replica.url}/score", json={"x": [n]}, timeout=20).json()[0], range(8)
            )
    assert max(seen) < 20  # calls of run() for 32 requests


@pytest.mark.parametrize("url", ["", "file://"])
def test_data_collection(
    url: str, folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, storage = folder(COLLECTS), tmp_path / "storage"
    (app / "model_config_map.json").write_text(
        json.dumps(
            {
                "accountContext": {"subscriptionId": "sub", "resourceGroupName": "group", "accountName": "account"},
                "models": {"model.pkl": {"id": "some-id", "version": 3}},
            }
        )
    )
    frame = pd.DataFrame({"a": [1.5], "b": [2.5], "c": ["x"]})
    schema = {"df": SampleDefinition(DataTypes.PANDAS, frame[["a", "b"]])}
    generate_schema(lambda df: df, schema, filepath=app / "service_schema.json")
    monkeypatch.setenv("AML_MODEL_DC_STORAGE_ENABLED", "true")
    monkeypatch.setenv("AML_MODEL_DC_STORAGE", f"{url}{storage}")
    monkeypatch.setenv("SERVICE_NAME", "iris")
    replica = spawn(app).ready()
    for number in range(3):
        answer = replica.score(
            json.dumps({"df": [{"a": number, "b": 1}, {"a": None, "b": 2}]}),
            headers={"x-ms-request-id": f"id-{number}"},
        )
        assert answer.json() == 2  # the collector did not modify the frame
    replica.send({"type": "drain", "seconds": 5})
    assert replica.process.wait(20) == 0

    base = storage / "modeldata/sub/group/account/iris/some-id-model.pkl-3"
    inputs = list(base.glob("inputs/*/*/*/data.csv"))
    assert len(inputs) == 1, replica.log
    collected = pd.read_csv(inputs[0])
    assert list(collected.columns) == ["$Timestamp", "$CorrelationId", "$RequestId", "a", "b"]
    assert collected["$RequestId"].tolist() == ["id-0", "id-0", "id-1", "id-1", "id-2", "id-2"]
    assert collected["b"].tolist() == [1.0, 2.0] * 3
    assert pd.to_datetime(collected["$Timestamp"]).notna().all()
    with next(iter(base.glob("predictions/*/*/*/data.csv"))).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][3:] == ["p", "q"]
    assert [row[1] for row in rows[1:4]] == ["mine", "mine", ""]
    assert rows[3][3:] == ["0.5", "text, with comma"]


def test_a_crash_loses_only_what_came_last(
    folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was collected a second before is on disk, in whole lines."""
    source = COLLECTS.replace("df):", "body):\n    import pandas as pd\n    df = pd.DataFrame([[float(body), 2.0]])")
    monkeypatch.setenv("AML_MODEL_DC_STORAGE_ENABLED", "true")
    monkeypatch.setenv("AML_MODEL_DC_STORAGE", str(tmp_path / "storage"))
    replica = spawn(folder(source)).ready()
    for number in range(20):
        assert replica.score(str(number)).json() == 2
    files = eventually(lambda: sorted((tmp_path / "storage").rglob("inputs/*/*/*/data.csv")))
    eventually(lambda: len(pd.read_csv(files[0])) == 20)
    replica.score("20")
    replica.process.kill()
    replica.process.wait(30)
    text = files[0].read_text()
    assert text.endswith("\n")
    assert pd.read_csv(files[0])["0"].tolist()[:20] == [float(number) for number in range(20)]


def test_collection_that_is_off(folder: Callable[..., Path], spawn: Callable[..., Any], tmp_path: Path) -> None:
    app = folder(
        COLLECTS.replace("def run(df):", "def run(body):\n    import pandas as pd\n    df = pd.DataFrame([[1, 2]])")
    )
    replica = spawn(app).ready()
    assert replica.score("").json() == 2
    assert not list(tmp_path.rglob("data.csv"))
