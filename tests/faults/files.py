"""Faults of files: state files, the database, artifacts and backups are lost or damaged."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mlmgmt_nb import local
from tests.conftest import ServiceProcess, database_arguments, mlmgmt
from tests.faults.scene import Scene, processes_of
from tests.integration.service.test_housekeeping import upload
from tests.support import forks
from tests.support.waiting import eventually

__all__ = [
    "damage_artifact",
    "damage_database",
    "lose_database",
    "lose_state_files",
    "restore_a_damaged_backup",
    "start_without_state_files",
]

_KEPT = ("service.json", "service.lock", "token")
"""Files that a running service writes again."""
_MADE_AT_START = (*_KEPT, "port", "id", "reserve", "start.lock", "token.lock", "maintenance.lock")
_PAGE_BYTES = 4096


def lose_state_files(scene: Scene, moments: random.Random) -> None:
    """Delete or damage the record, the lock file and the token while the service runs: a second service is refused,
    clients find the first, and the files are restored.
    """
    home, pid = scene.api.home, scene.api.process.pid
    with scene.scoring() as callers:
        for name in moments.sample(_KEPT, moments.randint(1, len(_KEPT))):
            _harm(home / name, moments)
        assert "already running" in mlmgmt("serve", "--home", home, *database_arguments(home), code=1)
        eventually(lambda: scene.api.described() and (home / "service.lock").exists(), what="the files")
        eventually(lambda: _text(home / "token") == scene.api.token, what="the token")
        assert local.ensure(home).pid == pid
    assert callers.wrong == [], callers.wrong


def start_without_state_files(scene: Scene, moments: random.Random) -> None:
    """Delete or damage state files that hold no data while nothing runs: the next service starts with everything, or
    says in one sentence which file to remove.
    """
    scene.crash()
    home = scene.api.home
    for name in moments.sample(_MADE_AT_START, moments.randint(1, len(_MADE_AT_START))):
        _harm(home / name, moments)
    if (home / "id").exists() and len((home / "id").read_bytes()) != 16:
        said = mlmgmt("serve", "--home", home, *database_arguments(home), code=1)
        assert f"{home / 'id'} is damaged" in said
        (home / "id").unlink()
    scene.api.start()
    scene.client.check()
    assert len(scene.api.token) > 40


def lose_database(scene: Scene, moments: random.Random) -> None:
    """Lose the database of a folder: it is refused with the way back; a backup has everything; `--new` begins an empty
    account beside the files.
    """
    scene.client.upload()
    with _restored(scene) as home:
        other = ServiceProcess(home, sqlite=True)
        scene.client.holds(other)
        eventually(lambda: _answers(other, scene), what="an answer of the restored service")
        other.stop() if moments.random() < 0.5 else other.kill()
        eventually(lambda: not processes_of(home), what="the end of its replicas")
        for path in home.glob("mlmgmt.db*"):
            path.unlink()
        if moments.random() < 0.5:
            (home / "mlmgmt.db").touch()
        for words in ("serve", "check", "gc"):
            said = mlmgmt(words, "--home", home, code=1)
            assert "mlmgmt.db is missing" in said, said
            assert "mlmgmt restore" in said, said
        new = ServiceProcess(home, "--new", sqlite=True)
        assert new.get("/models")["value"] == []
        assert new.get("/services")["value"] == []
        for digest, content in scene.client.contents.items():
            assert new.request("GET", f"/artifacts/sha256/{digest}").content == content
        new.stop()


def damage_database(scene: Scene, moments: random.Random) -> None:
    """Overwrite pages of a database: commands and requests say that it is damaged, or answer as before; a backup from
    before the damage has everything.
    """
    scene.client.upload()
    with _restored(scene) as home:
        before = scene.api.get("/models")
        _overwrite_pages(home / "mlmgmt.db", moments)
        is_found = _run("check", "--home", home)[0] != 0
        try:
            api = ServiceProcess(home, sqlite=True)
        except pytest.fail.Exception as refused:
            _is_one_sentence(str(refused).partition("at its start: ")[2])
            return
        try:
            answers = [api.request("GET", path) for path in ("/models", "/manifests", "/images", "/services")]
            answers.append(api.request("POST", "/models", json={"name": "m", "url": "file:///m", "mimeType": "a/b"}))
            for answer in answers:
                assert answer.status_code == 200 or answer.json()["code"] == "StoreDamaged", answer.text
            if not is_found and answers[0].status_code == 200:
                assert answers[0].json() == before
        finally:
            api.stop()
            eventually(lambda: not processes_of(home), what="the end of its replicas")
        assert "Traceback" not in home.with_name(home.name + ".output").read_text()


def damage_artifact(scene: Scene, moments: random.Random) -> None:
    """Damage a stored file: `mlmgmt check` and a build name the model, and the same upload mends it."""
    home, digest = scene.api.home, scene.client.upload()
    path = home / "artifacts" / digest[:2] / digest
    content = bytearray(path.read_bytes())
    content[moments.randrange(len(content))] ^= 1 << moments.randrange(8)
    path.chmod(0o600)
    path.write_bytes(content)
    with scene.scoring() as callers:
        (model,) = (one for one in scene.client.models.values() if digest in one["url"])
        name = f"model 'm' version {model['version']}"
        assert name in mlmgmt("check", "--home", home, code=1)
        manifest = scene.api.manifest(scene.driver("of-model", "def run(body):\n    return 1\n"), model["id"])
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = scene.api.operation(scene.api.request("POST", "/images", json=request))
        assert ended["error"]["code"] == "DamagedArtifact", ended
        assert "model 'm'" in ended["error"]["message"]
        upload(scene.api, scene.client.contents[digest])
        assert "nothing is missing or damaged" in mlmgmt("check", "--home", home)
    assert callers.wrong == [], callers.wrong
    scene.client.holds(scene.api)


def restore_a_damaged_backup(scene: Scene, moments: random.Random) -> None:
    """Damage or cut off a backup: it is refused and leaves nothing, or it is restored and the damage is named."""
    scene.client.upload()
    folder = scene.folder / "damaged-backup"
    folder.mkdir()
    try:
        backup, home = folder / f"backup.tar{moments.choice(['', '.gz'])}", folder / "home"
        mlmgmt("backup", backup, "--home", scene.api.home)
        content = bytearray(backup.read_bytes())
        place = moments.randrange(len(content))
        if moments.random() < 0.3:
            del content[place:]
        else:
            content[place : place + 100] = moments.randbytes(100)
        backup.write_bytes(content)
        code, said = _run("restore", backup, "--home", home)
        if code:
            _is_one_sentence(said)
            assert str(backup) in said
            assert list(folder.iterdir()) == [backup]
        elif "is damaged" not in said:
            assert "nothing is missing or damaged" in mlmgmt("check", "--home", home)
    finally:
        shutil.rmtree(folder)


def _harm(path: Path, moments: random.Random) -> None:
    """Delete a file, empty it, or write garbage into it."""
    kind = moments.choice(["deleted", "empty", "garbage"])
    if kind == "deleted":
        path.unlink(missing_ok=True)
        return
    path.touch(mode=0o600)
    path.write_bytes(b"" if kind == "empty" else moments.randbytes(20))


@contextlib.contextmanager
def _restored(scene: Scene) -> Iterator[Path]:
    """Yield a folder that was restored from a backup of the service while it runs; nothing of it stays."""
    folder = scene.folder / "restored"
    folder.mkdir()
    try:
        mlmgmt("backup", folder / "backup.tar", "--home", scene.api.home)
        mlmgmt("restore", folder / "backup.tar", "--home", folder / "home")
        yield folder / "home"
    finally:
        local.stop(folder / "home")
        eventually(lambda: not processes_of(folder), what="the end of the restored service")
        shutil.rmtree(folder)


def _answers(api: ServiceProcess, scene: Scene) -> bool:
    """Return whether the copy of the steady service answers with its key, at the port that it has now."""
    service = api.get(f"/services/{scene.steady['id']}")
    if not service["scoringUri"]:
        return False
    with contextlib.suppress(requests.RequestException):
        return api.score(service, "1", scene.keys["primaryKey"]).status_code == 200
    return False


def _overwrite_pages(database: Path, moments: random.Random) -> None:
    """Overwrite some pages of an SQLite file; nothing in its WAL file replaces them."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = database.stat().st_size // _PAGE_BYTES
    with database.open("r+b") as file:
        for page in moments.sample(range(pages), min(pages, moments.randint(1, 4))):
            file.seek(page * _PAGE_BYTES)
            file.write(moments.randbytes(_PAGE_BYTES))


def _run(*arguments: object) -> tuple[int, str]:
    """Run a command; return its exit code and output."""
    done = forks.run(*arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def _is_one_sentence(said: str) -> None:
    """Check that an error is a sentence and its fix, which names a command. Warnings in the log may come before it."""
    assert "Traceback" not in said, said
    assert len(said[said.index("mlmgmt: ") :].strip().splitlines()) == 2, said
    assert re.search(r"\bmlmgmt (backup|check|restore|serve)\b", said), said


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
