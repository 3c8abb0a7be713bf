"""What happens to the database and the state folder from outside, each with the outcome that is promised."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.conftest import API_VERSION, ServiceProcess, eventually
from tests.postgresql import PostgreSQL

DRIVER = "def init():\n    pass\n\ndef run(body):\n    return 'here'\n"
MODEL = {"name": "late", "url": "file:///nowhere/late.pkl", "mimeType": "application/json"}


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    """A server of the test's own: that of the session must not be away."""
    own = PostgreSQL()
    yield own
    own.remove()


def refused(home: Path, *before: str) -> str:
    """What a service says that does not start on a folder."""
    command = [*before, sys.executable, "-m", "mlmgmt_nb.cli", "serve", "--home", str(home)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    return said


def post_alone(api: ServiceProcess, model: dict[str, str]) -> requests.Response:
    """Registers a model on a connection of its own."""
    headers = {"authorization": f"Bearer {api.token}"}
    return requests.post(f"{api.base_url}/models", json=model, headers=headers, params=API_VERSION, timeout=30)


def test_another_process_holds_the_write_lock(start_service: Callable[..., ServiceProcess]) -> None:
    api = start_service(sqlite=True)
    model = api.model()
    with closing(sqlite3.connect(api.home / "mlmgmt.db", isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        try:
            late = pool.submit(post_alone, api, MODEL)
            with pytest.raises(TimeoutError):
                late.result(2)
            assert api.get("/models")["value"] == [model]
        finally:
            other.execute("ROLLBACK")
        answer = late.result(30)
    assert answer.status_code == 200, answer.text
    assert {one["id"] for one in api.get("/models")["value"]} == {model["id"], answer.json()["id"]}


def test_postgresql_is_restarted(
    database: PostgreSQL, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    api = start_service("--database", database.database("restarted"))
    folder = write_driver(DRIVER)
    service = api.service(api.image(folder)["id"])
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    model = api.model()
    replicas = {child.pid for child in api.children()}

    database.stop()
    try:
        for answer in (api.request("GET", "/models"), api.request("POST", "/models", json=MODEL)):
            assert (answer.status_code, answer.json()["code"]) == (503, "StoreUnavailable"), answer.text
            assert int(answer.headers["retry-after"]) > 0
        assert api.score(service, "1", key).json() == "here"
    finally:
        database.start()

    eventually(lambda: api.request("GET", "/models").status_code == 200, what="the database's return")
    assert api.get("/models")["value"] == [model]
    written = api.post("/models", MODEL)
    assert {one["id"] for one in api.get("/models")["value"]} == {model["id"], written["id"]}
    assert api.score(service, "1", key).json() == "here"
    assert replicas <= {child.pid for child in api.children()}, "a replica ended because the database was away"
    # Whoever builds and supervises goes on, too.
    second = api.service(api.image(folder)["id"], "second")
    assert api.score(second, "1").json() == "here"


def test_a_folder_that_can_only_be_read(start_service: Callable[..., ServiceProcess]) -> None:
    api = start_service(sqlite=True)
    api.stop()
    api.home.chmod(0o500)
    # Root may write everywhere, unless it gives that up.
    plain = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    locks = list(api.home.glob("*.lock"))
    for lock in locks:
        lock.chmod(0o400)
    try:
        said = refused(api.home, *plain)
    finally:
        api.home.chmod(0o700)
        for lock in locks:
            lock.chmod(0o600)
    assert f"The state folder {api.home} cannot be used" in said
    assert "Make it writable" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, -1)
    said = refused(home)
    assert f"The state folder {home} belongs to another user" in said
    assert "--home or MLMGMT_HOME" in said
    assert list(home.iterdir()) == []
