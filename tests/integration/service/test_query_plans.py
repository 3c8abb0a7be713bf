"""Each list, with each of its filters, walks an index in the order of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, event

from mlmgmt_nb.service.api.resources import models
from mlmgmt_nb.service.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "mlmgmt.db")
    yield found
    found.close()


def plan(store: Store, run: Any, query: dict[str, str]) -> str:
    """Return SQLite's plan for the statement of a list."""
    said: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        said.append((statement, parameters))

    call: Any = SimpleNamespace(
        backend=SimpleNamespace(store=store), account="s/g/a", query=query, base_url="http://x/api/accounts/a"
    )
    event.listen(store.engine, "before_cursor_execute", note)
    try:
        run(call)
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
    [(statement, parameters)] = [(text, given) for text, given in said if text.startswith("SELECT")]
    with store.reading() as db:
        return _explained(db, statement, parameters)


def _explained(db: Connection, statement: str, parameters: Any) -> str:
    return "\n".join(row.detail for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({}, "models_by_account (account=?)"),
        ({"name": "n"}, "models_by_name (account=? AND name=?)"),
        ({"tag": "t"}, "model_tags_1 (tag=?)"),
        ({"name": "n", "tag": "t"}, "models_by_name (account=? AND name=?)"),
    ],
)
def test_models(store: Store, query: dict[str, str], index: str) -> None:
    found = plan(store, models.list_, query)
    assert index in found.splitlines()[0], found
    assert "SCAN" not in found
    assert "TEMP B-TREE" not in found
