"""Several service processes on one PostgreSQL database: each answers, one leads, and any may fail."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from mlmgmt_nb import local
from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.store.installation import database_of
from mlmgmt_nb.service.store.store import Store
from tests.conftest import API_VERSION, ServiceProcess
from tests.faults.scene import processes_of
from tests.support import postgresql
from tests.support.components import missing
from tests.support.held_back import HeldBack
from tests.support.searches import long_search
from tests.support.waiting import eventually

DRIVER = "def init():\n    pass\n\ndef run(body):\n    return {says!r}\n"
NEVER_READY = "import time\ndef init(): time.sleep(600)\ndef run(body): return 2\n"
ENDED = {"Succeeded", "Failed", "Cancelled"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], ServiceProcess]]:
    """Start processes that share the database and the state folder of the test."""
    home = tmp_path / "home"
    database = ("--database", postgresql.server().database_of(home))
    started: list[ServiceProcess] = []

    def one() -> ServiceProcess:
        started.append(ServiceProcess(home, *database))
        return started[-1]

    yield one
    for service in started:
        service.stop()


def _both(home: Path) -> list[tuple[Any, ...]] | None:
    found = rows(home, "SELECT pid, id FROM processes")
    return found if len(found) == 2 else None


@pytest.fixture
def pair(start: Callable[[], ServiceProcess]) -> list[ServiceProcess]:
    """Two processes; the first one leads."""
    return [start(), start()]


def rows(home: Path, query: str) -> list[tuple[Any, ...]]:
    url = postgresql.server().database_of(home).replace("+psycopg", "")
    with psycopg.connect(url) as db:
        return db.execute(query).fetchall()


def leader(home: Path) -> int | None:
    """Return the pid of the process that leads."""
    return next((pid for (pid,) in rows(home, "SELECT pid FROM processes WHERE leads")), None)


def ask_for_image(api: ServiceProcess, folder: Path) -> str:
    manifest = api.manifest(folder)
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    return operation_of(api.request("POST", "/images", json=request))


def operation_of(accepted: requests.Response) -> str:
    assert accepted.status_code == 202, accepted.text
    return "/operations/" + accepted.headers["Operation-Location"].rpartition("/")[2]


def ended(api: ServiceProcess, operation: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        answer: dict[str, Any] = api.get(operation)
        return answer if answer["state"] in ENDED else None

    return eventually(look, timeout=60, what="the end of the operation")


def answers(api: ServiceProcess, service: Any, key: str, says: str) -> bool:
    try:
        answer = api.score(service, "1", key)
    except requests.RequestException:
        return False
    assert answer.status_code in {200, 503}, answer.text
    return answer.status_code == 200 and answer.json() == says


def _has(operations: list[str], enough: int) -> bool:
    return len(operations) >= enough


def _counts(api: ServiceProcess, url: str, line: str) -> bool:
    answer = api.request("GET", url)
    assert answer.status_code == 200, answer.text
    return line in answer.text


def test_all_answer_and_each_operation_is_claimed_once(
    pair: list[ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    first, second = pair
    assert first.token == second.token
    assert [leader(first.home)] == [first.process.pid]
    found = local.find(first.home)
    assert found is not None
    assert found.pid == first.process.pid

    # Versions count up without a gap, whoever is asked.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda api: api.model("shared"), pair * 20))
    versions = [model["version"] for model in second.get("/models", name="shared")["value"]]
    assert versions == list(range(40, 0, -1))

    folder = write_driver(DRIVER.format(says="one"))
    operations = [ask_for_image(api, folder) for api in pair * 4]
    for operation, api in zip(operations, pair[::-1] * 4, strict=True):
        assert ended(api, operation)["state"] == "Succeeded"
    assert rows(first.home, "SELECT DISTINCT attempts FROM operations") == [(1,)]
    for image in first.get("/images")["value"]:
        assert first.log(image["imageBuildLogUri"]).count("built in") == 1

    # A service requested from one process runs at the other; its keys change for both at once.
    image = second.get("/images")["value"][0]
    service = second.service(image["id"])
    assert second.score(service, "1").json() == "one"
    before = second.get(f"/services/{service['id']}/keys")
    after = second.post(f"/services/{service['id']}/regenerateKeys", {"keyType": "Primary"})
    assert first.score(service, "1", before["primaryKey"]).status_code == 401
    assert first.score(service, "1", after["primaryKey"]).status_code == 200

    # Each process shows data that only the leader has.
    counted = f'mlmgmt_requests_total{{account="local/local/default",service="{service["name"]}"}}'
    for api in pair:
        for url in (f"/services/{service['id']}/metrics", f"{api.base_url.partition('/api/')[0]}/metrics"):
            eventually(partial(_counts, api, url, f"{counted} 2.0"), what="the count of both requests")

    # One process can cancel builds and rollouts of the other.
    slow = first.image(write_driver(NEVER_READY, "slow"))
    update = operation_of(first.request("PUT", f"/services/{service['id']}", json={"imageId": slow["id"]}))
    assert second.request("POST", f"{update}/cancel").json()["state"] == "Cancelled"
    assert second.score(service, "1", after["primaryKey"]).json() == "one"

    # `mlmgmt stop` stops them all.
    assert local.stop(first.home)
    assert [process.process.wait(60) for process in pair] == [0, 0]
    assert rows(first.home, "SELECT * FROM processes") == []


def test_killing_any_of_them_loses_nothing(
    start: Callable[[], ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    living = [start(), start()]
    folders = [write_driver(DRIVER.format(says=says), says) for says in ("one", "two")]
    service = living[0].service(living[1].image(folders[0])["id"])
    keys = living[0].get(f"/services/{service['id']}/keys")
    images = [living[0].image(folder)["id"] for folder in folders]
    models: dict[str, Any] = {}
    operations: list[str] = []
    for turn in range(3):
        leads = leader(living[0].home)
        victim = next(api for api in living if (api.process.pid == leads) == (turn != 1))
        other = next(api for api in living if api is not victim)
        stop = threading.Event()

        def work(api: ServiceProcess = victim, stop: threading.Event = stop) -> None:
            for number in itertools.count():
                try:
                    model = api.model(f"m{number % 2}")
                    models[model["id"]] = model
                    operations.append(ask_for_image(api, folders[number % 2]))
                except requests.RequestException:
                    return
                if stop.is_set():
                    return

        worker = threading.Thread(target=work)
        worker.start()
        update = operation_of(other.request("PUT", f"/services/{service['id']}", json={"imageId": images[turn % 2]}))
        enough = len(operations) + 3
        eventually(partial(_has, operations, enough), what="some work")
        victim.kill()
        stop.set()
        worker.join()
        assert ended(other, update)["state"] == "Succeeded"
        says = ("one", "two")[turn % 2]
        eventually(partial(answers, other, service, keys["secondaryKey"], says), what="the answer of the service")
        assert leader(other.home) == other.process.pid or turn == 1
        living = [other, start()]
        for model in models.values():
            assert living[1].get(f"/models/{model['id']}") == model
    results = [ended(living[0], operation) for operation in operations]
    assert [result for result in results if result["state"] != "Succeeded"] == []
    assert living[0].get(f"/services/{service['id']}")["scoringUri"] == service["scoringUri"]
    assert rows(living[0].home, "SELECT max(attempts) FROM operations WHERE kind = 'Image'")[0][0] <= 3
    assert len(rows(living[0].home, "SELECT * FROM processes")) == 2
    made = living[0].home / "images"
    eventually(lambda: not list(made.glob("*.partial")), what="the end of what was half made")


@contextlib.contextmanager
def places_away(home: Path) -> Iterator[None]:
    """Make the places in a folder inaccessible meanwhile, as on a read-only disk."""
    locks = list(home.glob("service*.lock"))
    for lock in locks:  # atomically: a place must not appear free
        os.link(lock, lock.with_suffix(".aside"))
        lock.with_suffix(".away").symlink_to(home, target_is_directory=True)
        lock.with_suffix(".away").rename(lock)
    try:
        yield
    finally:
        for lock in locks:
            lock.with_suffix(".aside").rename(lock)


def _all_beat(home: Path, before: dict[str, int]) -> bool:
    after = dict(rows(home, "SELECT id, beats FROM processes"))
    return all(after[process_id] > beats + 1 for process_id, beats in before.items())


def test_a_leader_that_stops_hands_over(pair: list[ServiceProcess], write_driver: Callable[..., Path]) -> None:
    first, second = pair
    service = first.service(first.image(write_driver(DRIVER.format(says="one")))["id"])
    key = first.get(f"/services/{service['id']}/keys")["primaryKey"]
    with places_away(first.home):
        before = dict(rows(first.home, "SELECT id, beats FROM processes"))
        eventually(lambda: _all_beat(first.home, before), what="their beats")
    first.stop()
    eventually(lambda: answers(second, service, key, "one"), what="the answer of the service")
    assert leader(second.home) == second.process.pid
    assert "Traceback" not in first.home.with_name("home.output").read_text()


@long_search
def test_processes_that_stand_still_are_gone_on_without(
    start: Callable[[], ServiceProcess], write_driver: Callable[..., Path], held_back: HeldBack
) -> None:
    first, second, third = start(), start(), start()
    folder = write_driver(DRIVER.format(says="one"))
    service = first.service(first.image(folder)["id"])
    key = first.get(f"/services/{service['id']}/keys")["primaryKey"]
    other = first.image(write_driver(DRIVER.format(says="two"), "two"))
    # Each of them runs builds that cannot end yet.
    model = first.model(url=held_back.url)
    manifest = first.manifest(folder, model["id"])
    request = {"name": "late", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    builds = [operation_of(third.request("POST", "/images", json=request)) for _ in range(6)]
    claimed = "SELECT DISTINCT claimed_by FROM operations WHERE state = 'Running'"
    eventually(lambda: len(rows(third.home, claimed)) == 3, what="a build at each process")
    members = dict(rows(third.home, "SELECT pid, id FROM processes"))

    update = operation_of(third.request("PUT", f"/services/{service['id']}", json={"imageId": other["id"]}))
    os.kill(first.process.pid, signal.SIGSTOP)
    os.kill(second.process.pid, signal.SIGSTOP)
    try:
        # The leader has all ports: it is ended, and with it its replicas. So it does nothing when it could go on.
        assert eventually(first.process.poll, timeout=90, what="the end of the leader") == -signal.SIGKILL
        assert ended(third, update)["state"] == "Succeeded"
        eventually(partial(answers, third, service, key, "two"), what="the answer of the service")
        assert leader(third.home) == third.process.pid
        of_service = [child for child in processes_of(third.home) if child.cwd().endswith("/app")]
        assert {child.ppid() for child in of_service} == {third.process.pid}
        left = "SELECT id FROM processes"
        eventually(lambda: len(rows(third.home, left)) == 1, 60, "the end of the other, for the third")
    finally:
        os.kill(second.process.pid, signal.SIGCONT)
    # Now both run the same builds. One of them ends each build, and the work of the other changes nothing.
    held_back.go.set()
    locations = []
    for build in builds:
        end = ended(third, build)
        assert end["state"] == "Succeeded", end
        locations.append(end["resourceLocation"])
    image = third.get(locations[0])
    assert third.score(third.service(image["id"], "late"), "1").json() == "one"
    made = third.home / "images"
    eventually(lambda: not list(made.glob("*.partial")), what="the end of all work")
    again = dict(eventually(lambda: _both(third.home), what="the other's return"))
    assert again[second.process.pid] != members[second.process.pid]
    assert leader(third.home) == third.process.pid
    assert [one["id"] for one in second.get("/operations")["value"]] == [
        one["id"] for one in third.get("/operations")["value"]
    ]
    # Its work does not appear in their logs either.
    for location in locations:
        told = third.log(f"{location}/buildLog")
        assert (told.count("built in"), "failed" in told, "cancelled" in told) == (1, False, False), told


def test_another_folder_is_refused(start: Callable[[], ServiceProcess], tmp_path: Path) -> None:
    api = start()
    with pytest.raises(pytest.fail.Exception, match="share its state folder"):
        ServiceProcess(tmp_path / "other", "--database", postgresql.server().database_of(api.home))
    with pytest.raises(pytest.fail.Exception, match="is new, but"):
        ServiceProcess(api.home, "--database", postgresql.server().database("another"))
    shutil.copytree(api.home, tmp_path / "copy")
    with pytest.raises(pytest.fail.Exception, match="this folder is a copy of it"):
        ServiceProcess(tmp_path / "copy", "--database", postgresql.server().database_of(api.home))
    assert api.process.poll() is None
    # The folder stores the URL of its database, so it need not be given again.
    model = api.model()
    api.stop()
    assert local.ensure(api.home).pid != api.process.pid
    found = local.find(api.home)
    assert found is not None
    headers = {"authorization": f"Bearer {api.token}"}
    listed = requests.get(f"{found.base_url}/models", params=API_VERSION, headers=headers, timeout=30)
    assert listed.json()["value"] == [model]
    assert local.stop(api.home)


def on_another_machine(api: ServiceProcess, copy: Path) -> str:
    """Return the message of a service on a copy of the folder, under the same path on a machine with another name."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("A machine of another name", "run the tests as root, with util-linux")
    serve = f"{sys.executable} -m mlmgmt_nb.cli serve --home {api.home}"
    script = f"hostname elsewhere && mount --bind {copy} {api.home} && exec {serve}"
    command = ["unshare", "--mount", "--uts", "sh", "-c", script]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_a_copy_on_another_machine_is_refused_while_the_original_is_at_work(
    start: Callable[[], ServiceProcess], tmp_path: Path
) -> None:
    api = start()
    model = api.model()
    shutil.copytree(api.home, tmp_path / "copy")
    (known,) = rows(api.home, "SELECT id, leads FROM processes")
    said = on_another_machine(api, tmp_path / "copy")
    assert f"in use by processes on another machine ({socket.gethostname()})" in said
    assert "Traceback" not in said
    assert rows(api.home, "SELECT id, leads FROM processes") == [known]
    # Records from before the last boot do not interfere.
    api.kill()
    rows(api.home, "UPDATE processes SET machine = 'this one, before' RETURNING id")
    api.start()
    assert api.get("/models")["value"] == [model]
    assert [pid for (pid,) in rows(api.home, "SELECT pid FROM processes WHERE leads")] == [api.process.pid]


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    for url, said in (
        ("postgresql+psycopg://nobody:canary@127.0.0.1:9/none", "cannot be used"),
        ("mysql://localhost/x", "not the URL of a PostgreSQL database"),
        ("nonsense", "not the URL of a PostgreSQL database"),
    ):
        with pytest.raises(pytest.fail.Exception, match=said) as refused:
            ServiceProcess(tmp_path / "home", "--database", url)
        assert "canary" not in str(refused.value)
        assert "Traceback" not in str(refused.value)


def test_a_folder_with_data_in_sqlite(tmp_path: Path) -> None:
    (tmp_path / "sqlite").mkdir()
    Store(tmp_path / "sqlite" / "mlmgmt.db").close()
    with pytest.raises(LocalServiceError, match="has its data in SQLite"):
        database_of(tmp_path / "sqlite", "postgresql://localhost/x")
