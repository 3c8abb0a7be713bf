"""`mlmgmt gc`, `backup` and `restore` as commands, beside a running service; and automatic removal."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.installation import database_of
from mlmgmt_nb.service.store.store import Store
from tests.conftest import ServiceProcess, mlmgmt
from tests.support import postgresql
from tests.support.waiting import eventually

ONE = "def init():\n    pass\n\ndef run(body):\n    return 1\n"


def store_of(home: Path) -> Store:
    return Store(database_of(home, None) or home / "mlmgmt.db")


def upload(api: ServiceProcess, content: bytes) -> str:
    """Upload content to the artifact store; return its URL."""
    digest = hashlib.sha256(content).hexdigest()
    headers = {"upload-offset": "0", "upload-length": str(len(content))}
    answer = api.request("PATCH", f"/artifacts/sha256/{digest}/x.txt", data=content, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"{answer.headers['content-location']}/x.txt"


def age(path: Path) -> None:
    """Set the times of files back by two hours."""
    for file in (path, *path.rglob("*")):
        os.utime(file, (time.time() - 7200,) * 2, follow_symlinks=False)


class TestGc:
    @pytest.fixture
    def api(self, start_service: Callable[..., ServiceProcess]) -> ServiceProcess:
        return start_service()

    def gc(self, api: ServiceProcess, *more: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            mlmgmt("gc", "--home", api.home, "--older-than", "0", "-o", "json", *more),
        )
        return answer

    def test_only_unused_data_is_removed(
        self, api: ServiceProcess, write_driver: Callable[..., Path], tmp_path: Path
    ) -> None:
        requirements = tmp_path / "requirements.txt"
        requirements.write_text("six==1.16.0\n")
        used, old = (api.image(write_driver(ONE, name)) for name in ("used", "old"))
        model = api.model(url=upload(api, b"in use"))
        unused = api.image(write_driver(ONE, "unused"), properties={"pipRequirements": requirements.as_uri()})
        service = api.service(old["id"])
        api.operation(api.request("PUT", f"/services/{service['id']}", json={"imageId": used["id"]}))
        upload(api, b"never named")
        digests = {word: hashlib.sha256(word.encode()).hexdigest() for word in ("in use", "never named")}
        (api.home / "images" / "x.partial").mkdir()
        (environment,) = [path for path in (api.home / "environments").iterdir() if path.is_dir()]
        (lock,) = (api.home / "environments").glob("*.pinned")
        pins = api.home / "environments" / f"{'a' * 32}.pinned"
        shutil.copy(api.home / "images" / used["id"] / "requirements.txt", pins)
        old_pins = api.home / "environments" / f"{'b' * 32}.pinned"
        shutil.copy(api.home / "images" / unused["id"] / "requirements.txt", old_pins)
        age(api.home / "artifacts")

        assert "Nothing was removed" in mlmgmt("gc", "--home", api.home)
        found = self.gc(api)
        wanted = {
            ("image", "iris version 3"),
            ("environment", environment.name),
            ("environment", lock.name),
            ("environment", old_pins.name),
            ("artifact", digests["never named"]),
            ("leftovers", "x.partial"),
            ("log", f"builds/{unused['id']}"),
        }
        assert {(item["kind"], item["name"]) for item in found["items"]} == wanted
        assert found["bytes"] > 10**6
        assert environment.exists()
        assert old_pins.exists()

        assert {(item["kind"], item["name"]) for item in self.gc(api, "--delete")["items"]} == wanted
        assert self.gc(api)["items"] == []
        assert not environment.exists()
        assert not old_pins.exists()
        assert pins.exists()
        assert not (api.home / "images" / unused["id"]).exists()
        head = api.request("HEAD", f"/artifacts/sha256/{digests['never named']}")
        assert head.status_code == 404
        # All records are kept, and everything in use works; the service can return to its old image.
        assert api.get(f"/images/{unused['id']}")["creationState"] == "Succeeded"
        assert api.request("GET", model["url"]).content == b"in use"
        ended = api.operation(api.request("PUT", f"/services/{service['id']}", json={"imageId": old["id"]}))
        assert ended["state"] == "Succeeded"
        refused = api.create(unused["id"], "again")
        assert (refused.status_code, refused.json()["code"]) == (409, "ImageCollected")
        # The same requirements are installed again when needed.
        again = api.image(write_driver(ONE, "again"), properties={"pipRequirements": requirements.as_uri()})
        assert api.score(api.service(again["id"], "again"), "1").json() == 1

    def test_recent_data_is_kept(self, api: ServiceProcess, write_driver: Callable[..., Path]) -> None:
        api.image(write_driver(ONE))
        upload(api, b"about to be named")
        assert json.loads(mlmgmt("gc", "--home", api.home, "-o", "json"))["items"] == []
        # A client that checks whether content exists may be about to refer to it.
        age(api.home / "artifacts")
        digest = hashlib.sha256(b"about to be named").hexdigest()
        assert api.request("HEAD", f"/artifacts/sha256/{digest}").status_code == 200
        assert [item for item in self.gc(api)["items"] if item["kind"] == "artifact"] == []

    def test_wrong_lines(self, tmp_path: Path) -> None:
        assert "is not a state folder" in mlmgmt("gc", "--home", tmp_path, code=1)
        assert "is not a number of days" in mlmgmt("gc", "--older-than", "-1", code=2)


class TestBackup:
    def test_a_backup_brings_everything_back(
        self, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path
    ) -> None:
        api = start_service()
        requirements = tmp_path / "requirements.txt"
        requirements.write_text("six==1.16.0\n")
        api.model("iris", url=upload(api, b"content"), tags=["prod"])
        api.model("iris")
        image = api.image(write_driver(ONE), properties={"pipRequirements": requirements.as_uri()})
        service = api.service(image["id"])
        keys = api.get(f"/services/{service['id']}/keys")
        paths = ("/models", "/models?tag=prod", "/manifests", "/deployments", "/operations")
        before = {path: _without_origin(api.get(path), api) for path in paths}
        file = tmp_path / "backup.tar.gz"
        assert "keep it safe" in mlmgmt("backup", file, "--home", api.home)
        assert file.stat().st_mode & 0o777 == 0o600
        api.model("after the backup")
        api.stop()

        # Another folder, and the other database.
        other = () if database_of(api.home, None) else ("--database", postgresql.server().database("restored"))
        for number, database in enumerate(((), other)):
            home = tmp_path / f"restored-{number}"
            assert "is ready" in mlmgmt("restore", file, "--home", home, *database)
            again = start_service(home=home, sqlite=True)
            assert again.token == api.token
            assert {path: _without_origin(again.get(path), again) for path in before} == before
            assert again.get(f"/services/{service['id']}/keys") == keys
            model = again.get("/models")["value"][-1]
            digest = model["url"].rpartition("/artifacts/")[2]
            assert again.request("GET", f"/artifacts/{digest}").content == b"content"
            assert again.model("iris")["version"] == 3
            scored = eventually(partial(_scored, again, service, keys["primaryKey"]), what="the answer")
            assert scored == 1
            restored = again.get(f"/images/{image['id']}")
            assert restored["imageLocation"] == (home / "images" / image["id"]).as_uri()
            again.stop()

        assert "is not empty" in mlmgmt("restore", file, "--home", home, code=1)
        if other:
            used = mlmgmt("restore", file, "--home", tmp_path / "third", *other, code=1)
            assert "is not empty" in used
            assert not (tmp_path / "third").exists()

    def test_a_file_that_is_not_a_backup(self, tmp_path: Path) -> None:
        assert "does not exist" in mlmgmt("restore", tmp_path / "none", "--home", tmp_path / "home", code=1)
        (tmp_path / "text").write_text("text")
        assert "cannot be read" in mlmgmt("restore", tmp_path / "text", "--home", tmp_path / "home", code=1)
        with tarfile.open(tmp_path / "other.tar", "w") as tar:
            tar.add(tmp_path / "text", "text")
        assert "is not a backup" in mlmgmt("restore", tmp_path / "other.tar", "--home", tmp_path / "home", code=1)
        assert not (tmp_path / "home").exists()
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".mlmgmt")] == []

    def test_a_backup_whose_description_is_nested_deeply(self, tmp_path: Path) -> None:
        about = self.about(tmp_path)
        about.write_text(about.read_text()[:-1] + ', "more": ' + "[" * 30_000 + "]" * 30_000 + "}")
        self.pack(tmp_path / "deep.tar", {"backup.json": about})
        said = mlmgmt("restore", tmp_path / "deep.tar", "--home", tmp_path / "home", code=1)
        assert "its backup.json is damaged" in said

    @pytest.mark.parametrize("database", [None, b"", b"garbage" * 999])
    def test_a_backup_whose_database_is_lost(self, tmp_path: Path, database: bytes | None) -> None:
        """It must not become a new and empty account."""
        written = [self.about(tmp_path)]
        if database is not None:
            written.append(tmp_path / "mlmgmt.db")
            written[-1].write_bytes(database)
        self.pack(tmp_path / "lost.tar", {path.name: path for path in written})
        said = mlmgmt("restore", tmp_path / "lost.tar", "--home", tmp_path / "home", code=1)
        assert "lost.tar cannot be read as a backup" in said
        assert "mlmgmt.db" in said
        assert ".mlmgmt-" not in said
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["lost.tar", *(p.name for p in written)])

    def test_what_is_no_place_for_a_folder(self, tmp_path: Path) -> None:
        self.pack(tmp_path / "backup.tar", {"backup.json": self.about(tmp_path)})
        for place in ("backup.tar", "backup.tar/below"):
            said = mlmgmt("restore", tmp_path / "backup.tar", "--home", tmp_path / place, code=1)
            assert said.count("\n") <= 2
            assert f"cannot be restored to {tmp_path / place}" in said
        assert "does not exist" in mlmgmt("restore", tmp_path, "--home", tmp_path / "home", code=1)

    @staticmethod
    def about(folder: Path) -> Path:
        path = folder / "backup.json"
        path.write_text(json.dumps({"format": 1, "version": "1", "schemaVersion": 1, "createdAt": ""}))
        return path

    @staticmethod
    def pack(archive: Path, files: Mapping[str, Path]) -> None:
        with tarfile.open(archive, "w") as tar:
            for name, path in files.items():
                tar.add(path, name)

    @pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "service.json", "database"])
    def test_a_backup_that_would_write_elsewhere(self, tmp_path: Path, name: str) -> None:
        about = self.about(tmp_path)
        Store(tmp_path / "mlmgmt.db").close()
        files = {"backup.json": about, "mlmgmt.db": tmp_path / "mlmgmt.db", name: about}
        self.pack(tmp_path / "evil.tar", files)
        said = mlmgmt("restore", tmp_path / "evil.tar", "--home", tmp_path / "inner" / "home", code=1)
        assert ("outside its folder" if ".." in name else "not part of a backup") in said
        assert list((tmp_path / "inner").iterdir()) == []
        assert not (tmp_path / "inner" / "outside.txt").exists()
        assert not (tmp_path / "outside.txt").exists()
        assert not Path("/outside.txt").exists()


def _without_origin(answer: Any, api: ServiceProcess) -> Any:
    return json.loads(json.dumps(answer).replace(api.base_url.partition("/api/")[0], ""))


def _scored(api: ServiceProcess, service: Any, key: str) -> Any:
    answer = api.score(service, "1", key)
    return answer.json() if answer.status_code == 200 else None


@pytest.fixture
def old_operation(start_service: Callable[..., ServiceProcess], tmp_path: Path) -> tuple[Path, str]:
    """Return a state folder with an operation that ended 31 days ago, and another."""
    api = start_service(home=tmp_path / "home")
    (tmp_path / "empty").mkdir()
    manifest = api.post(
        "/manifests",
        {
            "name": "m",
            "driverProgram": "score.py",
            "assets": [{"id": "score.py", "url": "file:///none/score.py", "mimeType": "text/plain"}],
            "targetRuntime": {"runtimeType": "Python", "properties": {}},
        },
    )
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    ids = [api.operation(api.request("POST", "/images", json=request))["id"] for _ in range(2)]
    api.stop()
    store = store_of(api.home)
    operations = schema.operations
    with store.writing() as db:
        ended = db.scalar(select(operations.c.end_time).where(operations.c.id == ids[0]))
        assert ended is not None
        old = update(operations).where(operations.c.id == ids[0])
        db.execute(old.values(end_time=ended - dt.timedelta(days=31)))
    store.close()
    return api.home, ids[0]


def test_operations_are_kept_for_a_stated_time(
    start_service: Callable[..., ServiceProcess], old_operation: tuple[Path, str]
) -> None:
    home, operation_id = old_operation
    api = start_service("--keep-operations", "40", home=home)
    assert api.get(f"/operations/{operation_id}")["state"] == "Failed"
    api.stop()
    api = start_service(home=home)
    gone = eventually(lambda: _gone(api, operation_id), what="the end of the old operation")
    assert "kept for 30 days" in gone["message"]
    assert len(api.get("/operations")["value"]) == 1


def _gone(api: ServiceProcess, operation_id: str) -> Any:
    answer = api.request("GET", f"/operations/{operation_id}")
    return answer.json() if answer.status_code == 404 else None


def test_the_service_log_is_rotated(tmp_path: Path) -> None:
    script = f"""
import logging, os
from pathlib import Path
from mlmgmt_nb.service.system import service_log
service_log.MOST_BYTES = 10_000
path = Path({str(tmp_path)!r}) / "logs" / "service.log"
service_log.log_to(path)
for number in range(2000):
    logging.getLogger("test").info("line %s", number)
os.write(2, b"written by the interpreter itself\\n")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["service.log", "service.log.1", "service.log.2", "service.log.3"]
    assert all(file.stat().st_size <= 10_100 for file in files)
    assert "line 1999\nwritten by the interpreter itself" in files[0].read_text()


def test_a_folder_that_is_not_open_has_no_place(tmp_path: Path) -> None:
    home, other = Home(tmp_path), Home(tmp_path)
    assert home.is_alone()
    other.open()
    assert not home.is_alone()
    assert other.is_alone()
    other.close()


def test_a_look_at_a_folder_creates_no_files(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.open()
    home.close()
    before = sorted(tmp_path.iterdir())
    assert Home(tmp_path).is_alone()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["artifacts", "images", "environments", "logs"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(LocalServiceError, match=f"cannot be used: File exists .*/{name}"):
        Home(tmp_path).open()
