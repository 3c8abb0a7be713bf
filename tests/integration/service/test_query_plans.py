"""Each list of the contract, with each of its filters, uses indexes: on SQLite and on PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from mlmgmt_nb.contract import OPERATIONS
from mlmgmt_nb.service.api.resources import HANDLERS, operations
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.value_lists import one_of
from tests.support import postgresql

LISTS = {id_: HANDLERS[id_] for id_ in OPERATIONS if id_.endswith("_list")} | {"operations_list": operations.list_}
FILTERS = [
    (id_, parameter.name)
    for id_ in LISTS
    if id_ in OPERATIONS
    for parameter in OPERATIONS[id_].query
    if parameter.name not in {"count", "$skipToken"}
]
ACCOUNT = "s/g/a"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("plans")
    is_sqlite = request.param == "sqlite"
    found = Store(folder / "mlmgmt.db" if is_sqlite else postgresql.server().database_of(folder))
    with found.writing() as db:
        _add_service(db, "one", compute_id="value")
        _add_service(db, "two", compute_id="other", compute_given="another-name")
    yield found
    found.close()


def _add_service(db: Connection, name: str, **columns: str) -> None:
    at = dt.datetime.now(dt.UTC)
    keys = {"primary_key": "", "secondary_key": ""}
    state = {"state": "Succeeded", "deployment_id": "none", "created_at": at, "updated_at": at}
    db.execute(insert(schema.services).values(id=name, account=ACCOUNT, name=name, **keys, **state, **columns))


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Yield the list of the statements that are executed meanwhile, with their parameters."""
    said: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        said.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def plan(store: Store, list_: Any, **query: str) -> str:
    """Return the plans of the database for the statements of a list, up to that for the page."""
    settings = SimpleNamespace(public_url=None, tls=None)
    call: Any = SimpleNamespace(
        backend=SimpleNamespace(store=store, settings=settings, computes=SimpleNamespace(is_exposed=bool)),
        account=ACCOUNT,
        query=query,
        base_url="http://x/api/accounts/a",
    )
    with statements(store) as said:
        list_(call)
    last = next(place for place, (text, _) in enumerate(said) if "ORDER BY" in text)
    return "\n".join(explained(store, *each) for each in said[: last + 1] if each[0].startswith("SELECT"))


def explained(store: Store, statement: str, parameters: Any) -> str:
    """Return the plan of a statement."""
    with store.reading() as db:
        if not store.is_shared:
            return "\n".join(row.detail for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
        # In a database with few rows, reading whole tables costs least.
        db.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return "\n".join(row[0] for row in db.exec_driver_sql(f"EXPLAIN {statement}", parameters))


def scans(found: str) -> list[str]:
    """Return the lines of a plan that read a whole table."""
    return [line for line in found.splitlines() if line.strip().startswith("SCAN") or "Seq Scan" in line]


@pytest.mark.parametrize("id_", LISTS)
def test_a_list_walks_its_account_in_the_order_of_pages(store: Store, id_: str) -> None:
    found = plan(store, LISTS[id_])
    assert scans(found) == [], found
    if not store.is_shared:  # the plans of PostgreSQL depend on the rows
        assert f"{id_.removesuffix('_list')}_by_account" in found
        assert "TEMP B-TREE" not in found


@pytest.mark.parametrize(("id_", "name"), FILTERS)
def test_a_filter_uses_its_index(store: Store, id_: str, name: str) -> None:
    found = plan(store, LISTS[id_], **{name: "value"})
    assert scans(found) == [], found
    if not store.is_shared:
        assert "_by_account" not in found, found


@pytest.mark.parametrize(
    ("id_", "query", "index"),
    [
        ("models_list", {"name": "n"}, "models_by_name"),
        ("models_list", {"tag": "t"}, "model_tags_1"),
        ("models_list", {"name": "n", "tag": "t"}, "models_by_name"),
        ("manifests_list", {"manifestName": "n"}, "manifests_by_name"),
        ("images_list", {"manifestId": "m"}, "ix_images_manifest_id"),
        ("deployments_list", {"serviceId": "s"}, "ix_deployments_service_id"),
        ("services_list", {"computeResourceId": "value"}, "services_by_compute"),
        ("services_list", {"computeResourceId": "another-name"}, "services_by_compute_given"),
        ("models_list", {"archived": "false"}, "models_by_account"),
        ("models_list", {"name": "n", "archived": "false"}, "models_by_name"),
        ("models_list", {"tag": "t", "archived": "false"}, "model_tags_1"),
        ("models_list", {"archived": "true"}, "models_archived"),
        ("manifests_list", {"archived": "true"}, "manifests_archived"),
        ("images_list", {"archived": "true"}, "images_archived"),
    ],
)
def test_indexes_in_the_order_of_pages_need_no_sorting(
    id_: str, query: dict[str, str], index: str, store: Store
) -> None:
    found = plan(store, LISTS[id_], **query)
    assert scans(found) == [], found
    if not store.is_shared:
        assert index in found
        assert "TEMP B-TREE" not in found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], set()),
        (["one"], {"one"}),
        (["two", "one", "two", "'\"é\\", "null"], {"one", "two"}),
        ([f"s-{index}" for index in range(100_000)] + ["two"], {"two"}),
    ],
    ids=["none", "one", "several", "more than the parameters of a statement"],
)
def test_many_values_are_one_parameter_and_use_the_index(store: Store, values: list[str], found: set[str]) -> None:
    services = schema.services
    with store.reading() as db, statements(store) as said:
        assert set(db.scalars(select(services.c.id).where(one_of(db, services.c.id, values)))) == found
    [(statement, parameters)] = [each for each in said if each[0].startswith("SELECT")]
    assert len(parameters) == 1
    # The rows of the parameter itself are read one after another.
    assert [line for line in scans(explained(store, statement, parameters)) if "VIRTUAL TABLE" not in line] == []
