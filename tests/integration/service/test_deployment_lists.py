"""The list of all deployments, which has no pages: streamed in blocks, correct at their borders."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from mlmgmt_nb.contract import ComputeResource
from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.service.api.resources import deployments
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

BLOCK = 1000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store with accounts that have as many deployments as their names say."""
    found = Store(tmp_path_factory.mktemp("deployments") / "mlmgmt.db")
    with found.writing() as db:
        db.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        db.exec_driver_sql("INSERT INTO manifests (id, account, name, version, doc) VALUES ('m', 'a', 'm', 1, '{}')")
        db.exec_driver_sql(
            "INSERT INTO images (id, account, name, version, manifest_id, compute_id, state, created_at) "
            "VALUES ('i', 'a', 'i', 1, 'm', 'local', 'Succeeded', '2026-01-01 00:00:00')"
        )
        for count in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK):
            if rows := [_row(str(count), number) for number in range(count)]:
                db.execute(insert(schema.deployments), rows)
    yield found
    found.close()


def _row(account: str, number: int) -> dict[str, Any]:
    spec = ServiceCreate(compute_resource=ComputeResource(id="local", type="Cluster"), image_id="i", name="service")
    return {
        "id": f"{account}-{number}",
        "account": account,
        "service_id": "even" if number % 2 == 0 else "odd",
        "service_name": "service",
        "image_id": "i",
        "spec": spec,
        "status": "Expired",
        "created_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    }


def listed(store: Store, account: str, meanwhile: Any = None, **query: str) -> list[str]:
    """Return the ids of a list, as a client receives it. `meanwhile` is called once it has begun."""
    received = bytearray()

    async def send(message: Any) -> None:
        received.extend(message.get("body", b""))
        if meanwhile is not None and message["type"] == "http.response.start":
            meanwhile()

    call: Any = SimpleNamespace(backend=SimpleNamespace(store=store), account=account, query=query)
    asyncio.run(deployments.list_(call).send(send))
    return [found["id"] for found in msgspec.json.decode(received)]


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_all_are_listed_once_newest_first(store: Store, count: int) -> None:
    assert listed(store, str(count)) == [f"{count}-{number}" for number in reversed(range(count))]


def test_a_long_list_can_be_of_one_service(store: Store) -> None:
    count = 2 * BLOCK
    assert listed(store, str(count), serviceId="odd") == [f"{count}-{n}" for n in reversed(range(count)) if n % 2]


def test_deployments_that_are_added_meanwhile_are_not_listed(store: Store) -> None:
    account = str(BLOCK + 1)

    def add() -> None:
        with store.writing() as db:
            db.execute(insert(schema.deployments), [_row(account, BLOCK + 1) | {"id": "added"}])

    assert "added" not in listed(store, account, add)
    with store.writing() as db:
        db.exec_driver_sql("DELETE FROM deployments WHERE id = 'added'")
