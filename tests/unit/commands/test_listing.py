"""Lists of resources: the columns for people, and all columns for programs."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator

import msgspec
import pytest

from mlmgmt_nb.client import Pager
from mlmgmt_nb.client.http.frames import flat, flat_names, to_frame
from mlmgmt_nb.commands.output.formats import formatted
from mlmgmt_nb.commands.output.listing import COLUMNS, age, narrow_rows, wide_rows
from mlmgmt_nb.contract import (
    AsyncOperationStatus,
    ComputeResource,
    ErrorResponse,
    Image,
    Manifest,
    Model,
    TargetRuntime,
)
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.contract.resources import ErrorDetail

PYTHON = TargetRuntime(runtime_type="Python", properties={})
NOW = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
MANIFEST = Manifest(name="m", driver_program="driver", target_runtime=PYTHON, assets=[], id="manifest-1", version=1)
IMAGE = Image(name="iris", version=4, id="image-1", manifest=MANIFEST, compute_resource_id="local", image_type="Docker")
SERVICE = Service(
    compute_resource=ComputeResource(id="local"),
    name="iris",
    id="service-1",
    state="Succeeded",
    scoring_uri="http://127.0.0.1:8000/a/rather/long/path/that/must/be/whole/api/v1/service/iris/score/" + "x" * 60,
    num_replicas=0,
    created_at=NOW - dt.timedelta(hours=3, minutes=59),
    image=IMAGE,
    manifest=MANIFEST,
)
FAILED = msgspec.structs.replace(SERVICE, state="Failed", num_replicas=2)


class Listed(Pager[Service]):
    """A list that was fetched already."""

    def __init__(self, *items: Service) -> None:
        self.item, self._items = Service, items

    def __iter__(self) -> Iterator[Service]:
        return iter(self._items)


def test_the_columns_that_matter_come_first_and_empty_ones_are_left_out() -> None:
    (row,) = narrow_rows([SERVICE], NOW)
    assert list(row) == ["name", "state", "scoringUri", "numReplicas", "image", "age"]
    assert (row["image"], row["age"], row["numReplicas"]) == ("iris version 4", "3h", 0)
    assert row["scoringUri"] == SERVICE.scoring_uri, "a URL is never cut"
    rows = narrow_rows([SERVICE, FAILED], NOW)
    assert [row.get("lastOperation") for row in rows] == [None, "Failed"]
    assert [row["state"] for row in rows] == ["Succeeded", "Serving"]


def test_wide_has_the_rest() -> None:
    (row,) = wide_rows([SERVICE], NOW)
    assert list(row)[:7] == ["name", "state", "scoringUri", "numReplicas", "image", "age", "id"]
    assert (row["imageId"], row["manifestId"], row["computeResourceId"]) == ("image-1", "manifest-1", "local")
    assert "autoScaler" not in row, "it has no value"
    model = Model(name="m", mime_type="a/b", url="u", description="long " * 40, tags=["t" * 90])
    assert wide_rows([model], NOW)[0]["description"] == "long " * 40
    (short,) = narrow_rows([model], NOW)
    assert {len(short["description"]), len(short["tags"])} == {80}


def test_programs_get_all_columns_in_the_order_of_the_frame() -> None:
    frame = to_frame(Service, [[SERVICE]])
    names = flat_names(Service)
    assert [name.replace("_", "").lower() for name in frame.columns] == [name.lower() for name in names]
    assert list(flat(SERVICE)) == names
    for services in ((), (SERVICE,), (SERVICE, FAILED)):
        lines = list(csv.reader(io.StringIO(formatted(Listed(*services), "csv"))))
        assert lines[0] == names, "whether there are rows or not, and values or not"
        assert [line[0] for line in lines[1:]] == ["service-1"] * len(services)
        assert formatted(Listed(*services), "tsv").split("\n")[0].split("\t") == names
    assert formatted(Listed(SERVICE), "tsv", "[].[name, state]") == "iris\tSucceeded"


def test_how_long_an_operation_took_and_why_it_failed() -> None:
    error = ErrorResponse(code="X", message="no room", status_code=500, details=[ErrorDetail(code="X", message="y")])
    ended = AsyncOperationStatus(
        id="o",
        state="Failed",
        operation_type="Image",
        created_time=NOW - dt.timedelta(seconds=50),
        end_time=NOW - dt.timedelta(seconds=37.5),
        error=error,
    )
    (row,) = narrow_rows([ended], NOW)
    assert row == {
        "operationType": "Image",
        "state": "Failed",
        "error": "no room",
        "age": "50s",
        "duration": "12.5s",
        "id": "o",
    }


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86_399, "23h"), (864_000, "10d")],
)
def test_ages(seconds: float, shown: str) -> None:
    assert age((NOW - dt.timedelta(seconds=seconds)).isoformat(), NOW) == shown


def test_columns_are_those_of_the_api() -> None:
    shown_only = {"age", "duration", "lastOperation", "image", "archived"}
    for type_, columns in COLUMNS.items():
        assert set(columns) - shown_only <= set(flat_names(type_)), type_
