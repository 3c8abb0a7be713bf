"""The supervisor reads the services again only when they may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import delete, insert, literal, select, update

from mlmgmt_nb.contract import ComputeResource, ErrorResponse, ServiceCreateRequest
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.reconciling.service_rows import ServiceRows, changed_services
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "mlmgmt.db")
    with found.writing() as db:
        common = {"account": "a", "created_at": now()}
        db.execute(insert(schema.manifests), {"id": "m", "account": "a", "name": "m", "version": 1, "doc": b"{}"})
        image = {"id": "i", "name": "i", "version": 1, "manifest_id": "m", "compute_id": "local", "state": "Succeeded"}
        db.execute(insert(schema.images), common | image)
        spec = ServiceCreateRequest(name="service", image_id="i", compute_resource=ComputeResource(id="local"))
        deployment = {"id": "d", "service_id": "s", "service_name": "s", "image_id": "i", "status": "Active"}
        db.execute(insert(schema.deployments), common | deployment | {"spec": spec})
        service = {"id": "s", "name": "s", "compute_id": "local", "state": "Succeeded", "deployment_id": "d"}
        keys = {"primary_key": "p", "secondary_key": "q", "updated_at": now()}
        db.execute(insert(schema.services), common | service | keys)
    yield found
    found.close()


def scale_to(store: Store, scale: int) -> None:
    with store.writing() as db:
        db.execute(update(schema.services).values(scale=scale))


def test_announced_changes_are_seen_at_once_others_after_a_minute(store: Store) -> None:
    moment = 0.0
    rows = ServiceRows(store, lambda: moment)
    assert rows.read()[1]
    first, is_new = rows.read()
    assert (first["s"].scale, is_new) == (None, False)

    scale_to(store, 2)
    rows.invalidate()
    second, is_new = rows.read()
    assert (second["s"].scale, is_new) == (2, True)

    scale_to(store, 3)
    moment = 59.0
    assert rows.read()[0]["s"].scale == 2
    moment = 61.0
    assert rows.read()[0]["s"].scale == 3


def test_a_read_that_failed_is_made_again(store: Store, tmp_path: Path) -> None:
    rows = ServiceRows(store, lambda: 0.0)
    database = tmp_path / "mlmgmt.db"
    store.close()
    kept = database.rename(tmp_path / "away")
    database.mkdir()
    with pytest.raises(Exception, match="was deleted or replaced"):
        rows.read()
    database.rmdir()
    kept.rename(database)
    found, is_new = rows.read()
    assert (set(found), is_new) == ({"s"}, True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"scale": 3}, {"s"}),
        ({"error": ErrorResponse(code="CrashLoop", message="It ends.")}, {"s"}),
        ({"scale": None}, set()),
    ],
)
def test_only_services_whose_rows_differ_are_processed(
    store: Store, values: dict[str, Any], expected: set[str]
) -> None:
    rows = ServiceRows(store, lambda: 0.0)
    before = rows.read()[0]
    assert changed_services({}, before) == {"s"}
    assert changed_services(before, {}) == {"s"}
    with store.writing() as db:
        db.execute(update(schema.services).values(**values))
    rows.invalidate()
    after, is_new = rows.read()
    assert is_new
    assert changed_services(before, after) == expected


@pytest.mark.parametrize(("of", "expected"), [("s", {"s", "c"}), ("c", {"s", "c"}), ("other", {"other"})])
def test_a_service_and_its_candidate_are_processed_together(of: str, expected: set[str]) -> None:
    class Service(NamedTuple):
        candidate_of: str | None
        scale: int

    before: Any = {"s": Service(None, 1), "c": Service("s", 1), "other": Service(None, 1)}
    after = {**before, of: before[of]._replace(scale=2)}
    assert changed_services(before, after) == expected
    assert changed_services(before, {id_: row for id_, row in before.items() if id_ != of}) == expected


def test_a_change_of_one_service_reads_only_its_row(store: Store) -> None:
    rows = ServiceRows(store, lambda: 0.0)
    rows.read()
    with store.writing() as db:
        columns = [column for column in schema.services.c if column.name not in {"id", "name", "seq"}]
        copied = select(literal("t"), literal("t"), *columns)
        names = ["id", "name", *(column.name for column in columns)]
        db.execute(insert(schema.services).from_select(names, copied))
    rows.invalidate()
    before = rows.read()[0]
    scale_to(store, 2)
    rows.invalidate("s")
    after, is_new = rows.read()
    assert is_new
    assert (after["s"].scale, after["t"].scale) == (2, None), "the change of the other was not announced"
    assert after["t"] is before["t"]
    rows.invalidate("t")
    rows.invalidate()
    assert rows.read()[0]["t"].scale == 2
    with store.writing() as db:
        db.execute(delete(schema.services).where(schema.services.c.id == "t"))
    rows.invalidate("t")
    assert set(rows.read()[0]) == {"s"}
    assert not rows.read()[1]
