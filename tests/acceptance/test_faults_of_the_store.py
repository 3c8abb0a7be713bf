"""External faults of the database and the state folder, each with its promised outcome."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import API_VERSION, ServiceProcess
from tests.integration.service.drivers import replicas, trouble
from tests.support.components import missing
from tests.support.held_back import HeldBack
from tests.support.postgresql import PostgreSQL
from tests.support.waiting import eventually

DRIVER = "def init():\n    pass\n\ndef run(body):\n    return 'here'\n"
MODEL = {"name": "late", "url": "file:///nowhere/late.pkl", "mimeType": "application/json"}


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    """Yield a separate server, because the shared one must stay available."""
    own = PostgreSQL()
    yield own
    own.remove()


def refused(home: Path, *before: str) -> str:
    """Return the message of a service that fails to start on a folder."""
    command = [*before, sys.executable, "-m", "mlmgmt_nb.cli", "serve", "--home", str(home)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    return said


def post_alone(api: ServiceProcess, model: dict[str, str]) -> requests.Response:
    """Register a model on a separate connection."""
    headers = {"authorization": f"Bearer {api.token}"}
    return requests.post(f"{api.base_url}/models", json=model, headers=headers, params=API_VERSION, timeout=30)


def test_another_process_holds_the_write_lock(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    api = start_service(sqlite=True)
    image = api.image(write_driver(DRIVER))
    known = [api.model()]
    database = closing(sqlite3.connect(api.home / "mlmgmt.db", isolation_level=None))
    with database as other, ThreadPoolExecutor(20) as pool:
        # A write waits, and succeeds if the lock is released in time.
        other.execute("BEGIN IMMEDIATE")
        try:
            late = pool.submit(post_alone, api, MODEL)
            with pytest.raises(TimeoutError):
                late.result(1)
        finally:
            other.execute("ROLLBACK")
        answer = late.result(30)
        assert answer.status_code == 200, answer.text
        known.insert(0, answer.json())

        # Otherwise it is refused, however many wait, and reads continue meanwhile.
        other.execute("BEGIN IMMEDIATE")
        try:
            all_late = [pool.submit(post_alone, api, MODEL) for _ in range(20)]
            while not all_late[0].done():
                assert api.get("/models")["value"] == known
            for refused in [one.result(30) for one in all_late]:
                assert (refused.status_code, refused.json()["code"]) == (503, "StoreBusy"), refused.text
                assert int(refused.headers["retry-after"]) > 0
        finally:
            other.execute("ROLLBACK")
    assert api.get("/models")["value"] == known
    assert api.post("/models", MODEL)["version"] == 2
    # The supervisor continues, too.
    assert api.score(api.service(image["id"]), "1").json() == "here"


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
    # The builder and the supervisor continue, too.
    second = api.service(api.image(folder)["id"], "second")
    assert api.score(second, "1").json() == "here"


def test_a_folder_that_can_only_be_read(start_service: Callable[..., ServiceProcess]) -> None:
    api = start_service(sqlite=True)
    api.stop()
    api.home.chmod(0o500)
    # Root can write everywhere, unless it drops that capability.
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


def test_a_copy_beside_the_original(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    original = start_service(sqlite=True)
    folder = write_driver(DRIVER)
    service = original.service(original.image(folder)["id"])
    url = f"/services/{service['id']}"
    key = original.get(f"{url}/keys")["primaryKey"]
    living = {child.pid for child in original.children()}
    shutil.copytree(original.home, tmp_path / "copy", symlinks=True)

    copy = start_service(home=tmp_path / "copy", sqlite=True)
    seen = eventually(lambda: here(copy, url, key), what="the copy's service on a port of its own")
    assert seen["scoringUri"] != service["scoringUri"]
    assert copy.base_url != original.base_url
    # The process, replicas and containers of the original are left alone.
    assert original.score(service, "1", key).json() == "here"
    assert original.process.poll() is None
    assert living <= {child.pid for child in original.children()}, "the copy ended a replica of the original"
    assert (copy.home / "id").read_text() != (original.home / "id").read_text()

    # From now on it is an ordinary folder, which keeps its port whatever happens; so does a moved folder.
    copy.stop()
    copy.home.rename(tmp_path / "moved")
    host, port = address(seen["scoringUri"])
    with socket.create_server((host, port)):
        moved = start_service(home=tmp_path / "moved", sqlite=True)
        error = eventually(lambda: moved.get(url)["error"], what="the report")
        assert (error["code"], str(port) in error["message"]) == ("PortTaken", True)
        assert moved.get(url)["scoringUri"] == seen["scoringUri"]
        # An update of a service that has no port does not succeed, and does not wait forever.
        update = moved.request("PUT", url, json={"imageId": moved.image(folder)["id"]})
        ended = moved.operation(update)
        assert (ended["state"], ended["error"]["code"]) == ("Failed", "NoPort"), ended
        assert str(port) in ended["error"]["message"]
        assert [one["status"] for one in moved.get("/deployments", serviceId=service["id"])] == ["Failed", "Active"]
    eventually(lambda: here(moved, url, key), what="the return of what was served before")


def test_a_port_that_is_away_for_a_while_does_not_hide_how_the_last_update_ended(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    api = start_service()
    service = api.service(api.image(write_driver(DRIVER))["id"])
    url = f"/services/{service['id']}"
    key = api.get(f"{url}/keys")["primaryKey"]
    broken = api.image(write_driver("def init(): raise ValueError('canary')\ndef run(body): return 1\n", "broken"))
    assert api.operation(api.request("PUT", url, json={"imageId": broken["id"]}))["state"] == "Failed"
    failed = api.get(url)
    assert "canary" in failed["error"]["message"]
    api.stop()
    with socket.create_server(address(service["scoringUri"])):
        api.start()
        error = eventually(lambda: trouble(api, url, "PortTaken"), what="the report")
        assert [one["message"] for one in error["details"]] == [failed["error"]["message"]]
    eventually(lambda: here(api, url, key), what="the return of what was served before")
    eventually(lambda: api.get(url)["error"] == failed["error"], what="the error of the update")
    assert api.get(url)["state"] == "Failed"


def here(api: ServiceProcess, url: str, key: str) -> dict[str, Any] | None:
    """Return a service that answers at its URL."""
    seen: dict[str, Any] = api.get(url)
    with contextlib.suppress(requests.ConnectionError):
        if seen["scoringUri"] and api.score(seen, "1", key).status_code == 200:
            return seen
    return None


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


class Disk:
    """A separate file system for the test."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
            missing("A disk of its own", "run the tests as root, where files can be mounted")
        self.path = folder / "disk"
        self.path.mkdir()
        self._file = folder / "disk.img"
        with self._file.open("wb") as file:
            file.truncate(64 * 2**20)
        self._run("mkfs.ext4", "-q", self._file)
        self.mount()

    def _run(self, *command: str | Path) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def mount(self) -> None:
        self._run("mount", "-o", "loop,errors=remount-ro", self._file, self.path)

    def freeze(self, *, on: bool) -> None:
        """Make all files read-only, also for processes that have them open; shared memory is not affected."""
        paths = [path for path in [*self.path.rglob("*"), self.path] if not path.name.endswith("-shm")]
        paths = [path for path in paths if path.is_dir() or path.is_file()]
        self._run("chattr", "+i" if on else "-i", *paths)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Fill the file system meanwhile, including space that becomes free."""
        ballast, full, done = self.path / "ballast", threading.Event(), threading.Event()

        def fill() -> None:
            with ballast.open("wb", buffering=0) as file:
                while not done.wait(0.002):
                    for size in (2**20, 2**12, 1):
                        with contextlib.suppress(OSError):
                            while not done.is_set() and file.write(bytes(size)):
                                pass
                    full.set()

        filler = threading.Thread(target=fill)
        filler.start()
        try:
            assert full.wait(60)
            yield
        finally:
            done.set()
            filler.join()
            ballast.unlink()

    def fail(self) -> None:
        """Let the kernel detect damage of the file system, which is then read-only until it is checked."""
        device = self._run("findmnt", "-n", "-o", "SOURCE", self.path).strip()
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        self._run("umount", self.path)
        subprocess.run(["e2fsck", "-fp", self._file], capture_output=True, check=False, timeout=60)
        self.mount()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=False, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


def replace_replica(api: ServiceProcess, service: Any, key: str) -> None:
    """Kill the replica of a service and wait until another answers."""
    (replica,) = replicas(api, service)
    replica.kill()
    eventually(lambda: [one.pid for one in replicas(api, service)] not in ([], [replica.pid]), what="the next one")
    eventually(partial(here, api, f"/services/{service['id']}", key), what="its answer")


def test_a_disk_that_can_only_be_read_under_a_running_service(
    disk: Disk, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    api = start_service(home=disk.path / "home", sqlite=True)
    folder = write_driver(DRIVER)
    service = api.service(api.image(folder)["id"])
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    known = [api.model()]

    def only_read() -> None:
        """Check that changes are refused with the reason and all else works, also while a replica is replaced."""
        digest = hashlib.sha256(b"content").hexdigest()
        for answer in (
            api.request("POST", "/models", json=MODEL),
            api.request("PUT", f"/services/{service['id']}", json={"numReplicas": 2}),
            api.request(
                "PATCH",
                f"/artifacts/sha256/{digest}/x",
                data=b"content",
                headers={"upload-offset": "0", "upload-length": "7"},
            ),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "StoreReadOnly"), answer.text
            assert int(answer.headers["retry-after"]) > 0
        assert api.get("/models")["value"] == known
        replace_replica(api, service, key)

    disk.freeze(on=True)
    try:
        only_read()
    finally:
        disk.freeze(on=False)
    # As soon as it is writable again, everything continues without a restart.
    known.insert(0, api.post("/models", MODEL))
    ended = api.operation(api.request("PUT", f"/services/{service['id']}", json={"imageId": api.image(folder)["id"]}))
    assert ended["state"] == "Succeeded"

    disk.fail()
    service = api.get(f"/services/{service['id']}")
    only_read()
    api.stop()
    disk.mend()
    api.start()
    assert api.get("/models")["value"] == known
    assert eventually(partial(here, api, f"/services/{service['id']}", key), what="its return") == service
    known.insert(0, api.post("/models", MODEL))


def test_a_disk_that_is_full_when_a_build_fails_for_it(
    disk: Disk, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], held_back: HeldBack
) -> None:
    api = start_service(home=disk.path / "home", sqlite=True)
    folder = write_driver(DRIVER)
    service = api.service(api.image(folder)["id"])
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    manifest = api.manifest(folder, api.model(url=held_back.url)["id"])
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    accepted = api.request("POST", "/images", json=request)
    operation = accepted.headers["Operation-Location"]
    (partial,) = eventually(lambda: list((api.home / "images").glob("*.partial")), what="the build")
    # Data written before must not leave room for new data.
    with closing(sqlite3.connect(api.home / "mlmgmt.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with disk.full():
        held_back.go.set()
        eventually(lambda: not partial.exists(), what="the end of the build")
        # The end of the build cannot be stored, so it has not ended; storing is retried.
        refused = [api.request("POST", "/models", json=MODEL) for _ in range(3)]
        assert {(one.status_code, one.json()["code"]) for one in refused} == {(507, "DiskFull")}
        assert api.request("GET", operation).json()["state"] == "Running"
        # Replicas keep running, and are replaced when they die.
        replace_replica(api, service, key)
    ended = api.operation(accepted)
    assert (ended["state"], ended["error"]["code"]) == ("Failed", "DiskFull"), ended
    log = api.log(ended["resourceLocation"] + "/buildLog")
    assert log.endswith("The disk of the service is full. Free some space, then create the image again.\n")
    assert api.get("/images/" + ended["resourceLocation"].rpartition("/")[2])["creationState"] == "Failed"
    assert api.image(folder)["creationState"] == "Succeeded"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, -1)
    said = refused(home)
    assert f"The state folder {home} belongs to another user" in said
    assert "--home or MLMGMT_HOME" in said
    assert list(home.iterdir()) == []
