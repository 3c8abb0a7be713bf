"""Damage on the disk: findings of `mlmgmt check`, refusals of builds, and the effects of a lost database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import ServiceProcess, mlmgmt
from tests.integration.service.test_housekeeping import ONE, upload
from tests.support import forks, postgresql
from tests.support.waiting import eventually


@pytest.fixture
def account(start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]) -> Any:
    """Return a service with one model and an image of it: the process, the model, the image."""
    api = start_service()
    model = api.model(name="weights", url=upload(api, b"7 seven"))
    asset = {"id": "score.py", "url": upload(api, ONE.encode()).replace("x.txt", "score.py"), "mimeType": "text/plain"}
    runtime = {"runtimeType": "Python", "properties": {}}
    given = {"name": "iris", "assets": [asset], "driverProgram": "score.py", "targetRuntime": runtime}
    manifest = api.post("/manifests", {**given, "modelIds": [model["id"]]})
    return api, model, manifest, built(api, manifest)


def built(api: ServiceProcess, manifest: Any) -> Any:
    """Return the ended operation of an image."""
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    return api.operation(api.request("POST", "/images", json=request))


def stored(api: ServiceProcess, model: Any) -> Path:
    digest = model["url"].partition("sha256/")[2][:64]
    return Path(api.home, "artifacts", digest[:2], digest)


def damage(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[::-1])


def problems(home: Path, code: int = 1) -> list[tuple[str, str]]:
    found = json.loads(mlmgmt("check", "--home", home, "-o", "json", code=code))
    return [(one["name"], one["problem"]) for one in found["problems"]]


def test_a_whole_account(account: Any) -> None:
    api, *_ = account
    assert problems(api.home, code=0) == []
    said = mlmgmt("check", "--home", api.home)
    assert "2 artifacts and 1 image: nothing is missing or damaged" in said


def driver_of(api: ServiceProcess) -> Path:
    return of_image(api) / "app" / "score.py"


def of_image(api: ServiceProcess) -> Path:
    return next((api.home / "images").iterdir())


DAMAGES: dict[str, tuple[Callable[[ServiceProcess, Any], object], str, str]] = {
    "an artifact that was changed": (
        lambda api, model: damage(stored(api, model)), "model 'weights' version 1", "is damaged"),
    "an artifact that is gone": (
        lambda api, model: stored(api, model).unlink(), "model 'weights' version 1", "is missing"),
    "a file of an image that was changed": (
        lambda api, _: damage(driver_of(api)), "image 'iris' version 1", "'score.py' in it is dam"),
    "a file of an image that is gone": (
        lambda api, _: driver_of(api).unlink(), "image 'iris' version 1", "'score.py' in it is mis"),
    "a record of an image that is garbage": (
        lambda api, _: (of_image(api) / "app" / "mlmgmt-app.json").write_bytes(b"\xff"),
        "image 'iris' version 1", "'mlmgmt-app.json' in it is damaged"),
    "a map of models of the wrong type": (
        lambda api, _: (of_image(api) / "app" / "model_config_map.json").write_bytes(b"[1]"),
        "image 'iris' version 1", "'model_config_map.json' in it is damaged"),
    "an image that is gone": (
        lambda api, _: shutil.rmtree(of_image(api)), "image 'iris' version 1", "its folder is missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_reported_by_name(account: Any, kind: str) -> None:
    api, model, _, _ = account
    harm, name, problem = DAMAGES[kind]
    harm(api, model)
    ((found, said),) = problems(api.home)
    assert (found, problem in said) == (name, True), said


def test_a_service_logs_missing_files_at_its_start(account: Any) -> None:
    api, model, _, _ = account
    api.stop()
    stored(api, model).unlink()
    api.start()
    output = api.home.with_name(api.home.name + ".output")
    eventually(lambda: "model 'weights' version 1: is missing" in output.read_text(), what="the line of the log")


def test_a_build_of_a_damaged_artifact_fails_with_its_name_until_it_is_uploaded_again(account: Any) -> None:
    api, model, manifest, _ = account
    damage(stored(api, model))
    for _ in range(2):  # also once it has been set aside
        ended = built(api, manifest)
        assert (ended["state"], ended["error"]["code"]) == ("Failed", "DamagedArtifact")
        assert "model 'weights'" in ended["error"]["message"]
        assert str(api.home) not in ended["error"]["message"]
    assert problems(api.home) == [("model 'weights' version 1", "is damaged")]
    upload(api, b"7 seven")
    assert built(api, manifest)["state"] == "Succeeded"
    assert problems(api.home, code=0) == []


def test_a_damaged_database(start_service: Callable[..., ServiceProcess]) -> None:
    api = start_service(sqlite=True)
    for number in range(300):
        api.model(name=f"model-{number}")
    api.stop()
    database = api.home / "mlmgmt.db"
    content = bytearray(database.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    database.write_bytes(content)
    assert "mlmgmt.db" in mlmgmt("check", "--home", api.home, code=1)


@pytest.mark.parametrize("table", ["installation", "models", "replicas", "services"])
def test_no_command_shows_a_traceback_for_a_damaged_table(
    start_service: Callable[..., ServiceProcess], table: str
) -> None:
    api = start_service(sqlite=True)
    api.model()
    api.stop()
    _damage(api.home / "mlmgmt.db", table)
    for command in (("check",), ("gc",), ("backup", str(api.home.parent / "backup.tar"))):
        done = forks.run(*command, "--home", str(api.home))
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode in {0, 1}
    assert forks.run("check", "--home", str(api.home)).returncode == 1
    refusal = _refusal(api)  # the damaged table may not be read at the start
    assert not refusal or "damaged" in refusal or "malformed" in refusal
    assert "Traceback" not in refusal


def _refusal(api: ServiceProcess) -> str:
    """Return why the service does not start; empty if it starts."""
    try:
        api.start()
    except pytest.fail.Exception as refused:
        return str(refused)
    return ""


def _damage(database: Path, table: str) -> None:
    """Overwrite the root page of a table."""
    with closing(sqlite3.connect(database)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_restored_backup_names_the_contents_that_were_damaged_in_it(account: Any, tmp_path: Path) -> None:
    api, *_ = account
    backup = tmp_path / "backup.tar"
    mlmgmt("backup", backup, "--home", api.home)
    content = backup.read_bytes()
    assert content.count(b"7 seven") > 0
    backup.write_bytes(content.replace(b"7 seven", b"9 nine!"))
    said = mlmgmt("restore", backup, "--home", tmp_path / "restored")
    assert "note: model 'weights' version 1 is damaged" in said


def test_a_table_that_is_damaged_is_named_by_requests(start_service: Callable[..., ServiceProcess]) -> None:
    api = start_service(sqlite=True)
    api.model()
    api.stop()
    database = api.home / "mlmgmt.db"
    _damage(database, "models")
    api.start()
    for answer in (
        api.request("GET", "/models"),
        api.request("POST", "/models", json={"name": "late", "url": "file:///late", "mimeType": "a/b"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (500, "StoreDamaged"), answer.text
        assert "mlmgmt restore" in answer.json()["message"]
    assert api.get("/services")["value"] == []
    assert "Traceback" not in api.home.with_name(api.home.name + ".output").read_text()


def _without_tables(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA user_version = 1")
        db.commit()


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "an empty file": Path.touch,
    "a database without tables": _without_tables,
}


@pytest.mark.parametrize("is_bound", [True, False])
@pytest.mark.parametrize("what", REPLACEMENTS)
def test_a_lost_database_is_never_a_new_account(
    start_service: Callable[..., ServiceProcess], what: str, is_bound: bool
) -> None:
    api = start_service(sqlite=True)
    content = upload(api, b"7 seven")
    api.stop()
    for path in api.home.glob("mlmgmt.db*"):
        path.unlink()
    REPLACEMENTS[what](api.home / "mlmgmt.db")
    if not is_bound:
        (api.home / "installation").unlink()
    for words in (["serve"], ["serve"], ["gc", "--older-than", "0", "--delete"], ["check"], ["backup", api.home / "b"]):
        said = mlmgmt(words[0], "--home", api.home, *words[1:], code=1)
        assert "mlmgmt.db is missing" in said
        assert "mlmgmt restore" in said
        assert "--new" in said
    again = start_service("--new", sqlite=True)
    assert again.get("/models")["value"] == []
    digest = content.partition("sha256/")[2][:64]
    assert again.request("GET", f"/artifacts/sha256/{digest}").content == b"7 seven"
    again.stop()
    start_service(sqlite=True).stop()


@pytest.mark.parametrize("harm", ["row", "file"])
def test_a_database_on_a_server_without_its_link(
    tmp_path: Path, start_service: Callable[..., ServiceProcess], harm: str
) -> None:
    """Nothing says that it is the database of the folder."""
    url = postgresql.server().database_of(tmp_path / "home")
    api = start_service("--database", url)
    api.stop()
    if harm == "row":
        with psycopg.connect(url.replace("+psycopg", "")) as db:
            db.execute("DELETE FROM installation")
    else:
        (api.home / "installation").write_bytes(b"\xff")
    ((name, problem),) = problems(api.home)
    assert name == "the database"
    assert {"row": "lacks the row of its table 'installation'", "file": "belongs to the state folder"}[harm] in problem
