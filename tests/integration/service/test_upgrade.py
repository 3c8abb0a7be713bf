"""State folders of earlier versions: a service of this one takes them over, with all that is in them.

`released/N.sql` is the database of a service of schema N, `released/N.json` what that service answered.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, update

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.store import migrations, schema
from mlmgmt_nb.service.store.store import Store
from tests.conftest import ServiceProcess
from tests.support import postgresql
from tests.support.waiting import eventually

RELEASED = Path(__file__).with_name("released")
VERSIONS = sorted(int(path.stem) for path in RELEASED.glob("*.sql"))
NO_RECORD = dict.fromkeys(("change", "changedBy", "reason", "replaces", "restores", "evidence", "outcome", "keptUntil"))
"""New since schema 5."""
AS_BEFORE = "def init():\n    pass\n\ndef run(body):\n    return 'as before'\n"


def put(version: int, path: Path, **replaced: str) -> None:
    """Create the database of a released version."""
    script = (RELEASED / f"{version}.sql").read_text()
    for name, value in {"PORT": "20000", "HOME": str(path.parent), "PYTHON": sys.executable, **replaced}.items():
        script = script.replace(f"@{name}@", value)
    with sqlite3.connect(path) as db:
        db.executescript(script)
    db.close()


def shape(store: Store) -> dict[str, Any]:
    """Return a description of the tables of a database, in no particular order."""
    about = inspect(store.engine)
    return {
        table: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"]) for c in about.get_columns(table)},
            "key": about.get_pk_constraint(table)["constrained_columns"],
            "indexes": {i["name"]: (i["column_names"], i["unique"]) for i in about.get_indexes(table)},
            "unique": sorted(u["column_names"] for u in about.get_unique_constraints(table)),
            "foreign": sorted((f["constrained_columns"], f["referred_table"]) for f in about.get_foreign_keys(table)),
        }
        for table in about.get_table_names()
    }


def test_each_version_has_its_database_here() -> None:
    assert list(range(1, schema.VERSION)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgraded_database_is_like_a_new_one(tmp_path: Path, version: int) -> None:
    put(version, tmp_path / "old.db")
    old, new = Store(tmp_path / "old.db"), Store(tmp_path / "new.db")
    assert shape(old) == shape(new)
    old.close()
    new.close()
    # The previous database is kept beside it.
    with sqlite3.connect(tmp_path / f"old.schema-{version}.db") as db:
        assert db.execute("SELECT version FROM schema_version").fetchall() == [(version,)]
        assert db.execute("SELECT count(*) FROM models").fetchone()[0] > 0
    db.close()


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(db: Any) -> None:
        migrations._to_2(db)
        raise ZeroDivisionError

    path = tmp_path / "old.db"
    put(1, path)
    with sqlite3.connect(path) as db:
        before = list(db.iterdump())
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_STEPS", {2: breaks})
        with pytest.raises(ZeroDivisionError):
            Store(path)
    with sqlite3.connect(path) as db:
        assert list(db.iterdump()) == before
    Store(path).close()


def test_a_database_in_use_is_not_upgraded(tmp_path: Path) -> None:
    put(1, tmp_path / "old.db")
    with pytest.raises(LocalServiceError, match="is in use"):
        Store(tmp_path / "old.db", may_migrate=False)


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_of_each_version_continues(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path, version: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # The folder was at another path then.
    port = free_port()
    put(version, home / "mlmgmt.db", HOME="/home/user/before", PORT=port)
    api = start_service(home=home, sqlite=True)
    origin = api.base_url.partition("/api/")[0]
    words = (RELEASED / f"{version}.json").read_text().replace("@ORIGIN@", origin).replace("@HOME@", str(home))
    said = json.loads(words.replace("@PORT@", port))
    keys, operations = said.pop("keys"), said.pop("operations")
    (service,) = said.pop("/services")["value"]
    said["/deployments"] = [{**deployment, **NO_RECORD} for deployment in said["/deployments"]]
    for path, answer in said.items():
        assert api.get(path) == answer
    for operation_id, operation in operations.items():
        assert api.get(f"/operations/{operation_id}") == {**operation, "warning": None}  # new in schema 3
    assert api.get(f"/services/{service['id']}/keys") == keys
    # The files of its image, as an earlier build would have left them.
    built = api.image(write_driver(AS_BEFORE), name="again")
    shutil.copytree(home / "images" / built["id"], home / "images" / service["image"]["id"])
    scored = eventually(lambda: _scored(api, service, keys["secondaryKey"]), what="the answer of the service of before")
    assert scored == '"as before"'
    assert api.get(f"/services/{service['id']}")["scoringUri"] == service["scoringUri"]


def _scored(api: ServiceProcess, service: Any, key: str) -> str | None:
    answer = api.score(service, "1", key)
    return answer.text if answer.status_code == 200 else None


def test_a_database_without_utf8(tmp_path: Path) -> None:
    server = postgresql.server()
    server.run("createdb", "--encoding=SQL_ASCII", "--template=template0", "ascii")
    with pytest.raises(LocalServiceError, match="encoded in SQL_ASCII"):
        Store(server.url("ascii"))


def test_a_database_of_postgresql(tmp_path: Path) -> None:
    """Its types have other names. Schema 3 is the last before withdrawn versions."""
    server = postgresql.server()
    old, new = server.database_of(tmp_path / "old"), server.database_of(tmp_path / "new")
    store = Store(old)
    with store.writing() as db:
        for table in ("models", "manifests", "images"):
            db.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN withdrawn_at, DROP COLUMN archived_at")
        db.exec_driver_sql("ALTER TABLE deployments DROP COLUMN change")
        db.exec_driver_sql("ALTER TABLE operations DROP COLUMN made_versions")
        for column in ("candidate_of", "expires_at", "traffic", "adopts_id"):
            db.exec_driver_sql(f"ALTER TABLE services DROP COLUMN {column}")
        for index in ("services_by_compute", "services_by_compute_given", "operations_with_warning"):
            db.exec_driver_sql(f"DROP INDEX {index}")
        db.execute(update(schema.schema_version).values(version=3))
    store.close()
    upgraded, made = Store(old), Store(new)
    assert shape(upgraded) == shape(made)
    upgraded.close()
    made.close()
