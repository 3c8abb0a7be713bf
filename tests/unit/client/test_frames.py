"""DataFrames of lists: the same columns and dtypes whatever is in them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pandas as pd
import pytest

from mlmgmt_nb.client.http.frames import to_frame
from mlmgmt_nb.contract import Deployment, Image, Manifest, Model, ServiceResponse
from mlmgmt_nb.contract.extensions import OperationStatus, Service

UTC_TIMES = "datetime64[us, UTC]"
MODEL_DTYPES = {
    "mime_type": "string",
    "name": "string",
    "url": "string",
    "id": "string",
    "version": "Int64",
    "created_at": UTC_TIMES,
    "description": "string",
    "tags": "object",
    "unpack": "boolean",
}


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def models(*rows: dict[str, Any]) -> list[Model]:
    return [msgspec.convert({"name": "m", "mimeType": "a/b", "url": "u", **row}, Model) for row in rows]


def test_models() -> None:
    frame = to_frame(
        Model,
        [
            models({"version": 1, "createdAt": "2024-05-06T07:08:09.123456Z", "tags": ["a", "b"], "unpack": True}),
            models({"version": 2**53 + 1, "createdAt": "2024-05-06T07:08:09"}, {}),
        ],
    )
    assert dtypes(frame) == MODEL_DTYPES
    assert list(frame["version"]) == [1, 2**53 + 1, pd.NA]
    assert frame["created_at"][0] == dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=dt.UTC)
    assert frame["created_at"][1] == dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    assert frame["created_at"][2] is pd.NaT
    assert frame["tags"][0] == ["a", "b"]
    assert list(frame["unpack"]) == [True, pd.NA, pd.NA]
    assert list(frame.index) == [0, 1, 2]


@pytest.mark.parametrize("pages", [[], [[]], [models({})]])
def test_columns_do_not_depend_on_the_rows(pages: list[list[Model]]) -> None:
    assert dtypes(to_frame(Model, pages)) == MODEL_DTYPES


def test_tags_with_values_are_columns() -> None:
    frame = to_frame(
        Model,
        [
            models({"tags": ["prod", "class=Pipeline", "metrics.auc=0.93", "parameters.depth=3", "name=no", "=x"]}, {}),
            models({"tags": ["metrics.auc=1", "parameters.depth=99999999999999999999", "note=a=b"]}),
        ],
    )
    assert dtypes(frame) == MODEL_DTYPES | {
        "metrics.auc": "Float64",
        "parameters.depth": "Float64",
        "class": "string",
        "note": "string",
    }
    assert frame["metrics.auc"].tolist() == [0.93, pd.NA, 1.0]
    assert frame["class"].tolist() == ["Pipeline", pd.NA, pd.NA]
    assert frame["note"].tolist() == [pd.NA, pd.NA, "a=b"]
    assert frame["name"].tolist() == ["m", "m", "m"]


def test_columns_of_tags_are_bounded() -> None:
    rows = [{"tags": [f"run-{row}=1", "team=churn"]} for row in range(200)]
    frame = to_frame(Model, [models(*rows)])
    assert len(frame.columns) == len(MODEL_DTYPES) + 50
    assert frame["team"].tolist() == ["churn"] * 200


def test_nested_resources_are_named_by_their_ids() -> None:
    service = {
        "id": "s1",
        "name": "iris",
        "computeResource": {"id": "local", "type": "Cluster"},
        "image": {"id": "i1"},
        "manifest": {
            "id": "f1",
            "name": "n",
            "assets": [],
            "driverProgram": "d",
            "targetRuntime": {"properties": {}, "runtimeType": "Python"},
        },
        "models": [{"id": "m1", "name": "m", "mimeType": "a/b", "url": "u"}],
        "error": {"code": "X", "message": "It broke."},
        "autoScaler": {"minReplicas": 2},
    }
    frame = to_frame(ServiceResponse, [[msgspec.convert(service, ServiceResponse)]])
    row = frame.iloc[0]
    assert row["compute_resource_id"] == "local"
    assert (row["image_id"], row["manifest_id"], row["model_ids"]) == ("i1", "f1", ["m1"])
    assert row["error"] == "It broke."
    assert row["auto_scaler"]["minReplicas"] == 2
    empty = to_frame(ServiceResponse, [])
    assert dtypes(empty) == dtypes(frame)
    assert dtypes(empty)["num_replicas"] == "Int64"
    assert dtypes(empty)["app_insights_enabled"] == "boolean"


@pytest.mark.parametrize("type_", [Model, Manifest, Image, ServiceResponse, Deployment])
def test_every_list_has_a_frame(type_: type[msgspec.Struct]) -> None:
    frame = to_frame(type_, [])
    assert len(frame) == 0
    assert frame["id"].dtype == "string"
    assert frame.columns.is_unique


@pytest.mark.parametrize("type_", [Model, Manifest, Image, Service, Deployment, OperationStatus])
def test_columns_are_types_that_files_have(type_: type[msgspec.Struct]) -> None:
    """Parquet keeps these dtypes. An object is a list or dict of JSON types, and never an empty dict."""
    assets = [{"id": "a", "mimeType": "m", "url": "u"}]
    runtime: dict[str, Any] = {"runtimeType": "Python", "properties": {}}
    given = {
        Model: {"name": "m", "mimeType": "a/b", "url": "u", "tags": ["t"]},
        Manifest: {"name": "m", "driverProgram": "a", "assets": assets, "targetRuntime": runtime},
        Image: {"name": "i", "creationState": "Succeeded", "computeResourceId": "c", "imageType": "Docker"},
        Service: {
            "computeType": "ACS",
            "name": "s",
            "environment": {},
            "computeResource": {"id": "c", "type": "Cluster"},
        },
        Deployment: {"id": "d"},
        OperationStatus: {"id": "o", "state": "Running", "operationType": "Image"},
    }[type_]
    frame = to_frame(type_, [[msgspec.convert(given, type_, strict=False)]])
    kinds = {"string", "Int64", "boolean", "object", UTC_TIMES}
    assert not {name: dtype for name, dtype in dtypes(frame).items() if dtype not in kinds}
    for name in frame.columns[frame.dtypes == "object"]:
        value = frame[name][0]
        assert value is None or (value and isinstance(value, (list, dict))), name
        assert json.loads(json.dumps(value)) == value
