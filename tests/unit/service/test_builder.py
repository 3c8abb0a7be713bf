"""The workers that build images, without the rest of the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from sqlalchemy import Connection, Row, insert, select, update

from mlmgmt_nb.contract import Asset, Manifest, TargetRuntime
from mlmgmt_nb.service.building import builder as building_builder
from mlmgmt_nb.service.building.build_steps import BuildSteps
from mlmgmt_nb.service.building.builder import Builder, build_log
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.files.artifacts import ArtifactStore
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import OutcomeUnknown, Store, StoreBusy
from tests.support.waiting import eventually


class HardOfHearing(Store):
    """A store that loses the confirmation of a commit after `unheard` more writes; it counts them."""

    unheard = 0

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as db:
            yield db
        self.unheard -= 1
        if self.unheard == 0:
            raise OutcomeUnknown


def ask_for_image(store: Store, folder: Path) -> None:
    driver = folder / "score.py"
    driver.write_text("def run(body):\n    return 1\n")
    asset = Asset(id="score.py", url=driver.as_uri(), mime_type="text/plain")
    runtime = TargetRuntime(runtime_type="Python", properties={})
    manifest = Manifest(id="m", name="m", assets=[asset], driver_program="score.py", target_runtime=runtime, version=1)
    of_account = {"account": "s/g/a", "name": "m", "version": 1}
    image = {"id": "i", "manifest_id": "m", "compute_id": "local", "state": "NotStarted", "created_at": now()}
    operation = {"id": "o", "account": "s/g/a", "kind": "Image", "resource_id": "i", "state": "NotStarted"}
    with store.writing() as db:
        db.execute(insert(schema.manifests).values(**of_account, id="m", doc=msgspec.json.encode(manifest)))
        db.execute(insert(schema.images).values(**of_account, **image))
        db.execute(insert(schema.operations).values(**operation, attempts=0, created_at=now()))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.open()
    yield made
    made.close()


@contextmanager
def building(store: Store, home: Home) -> Iterator[None]:
    """Build as process `p`."""
    steps = BuildSteps(
        store,
        home,
        Fetcher(ArtifactStore(home.artifacts), frozenset({"file"}), None),
        Environments(home.environments),
        images=Mock(),
        registries=lambda _: None,
        indexes=list,
        bases={"Python": "none"},
    )
    builder = Builder(store, home, steps, process_id=lambda: "p")
    builder.start()
    try:
        yield
    finally:
        builder.stop()
        store.close()


def enter(store: Store) -> None:
    """Register process `p` as a live process."""
    row = {"id": "p", "place": 1, "machine": "m", "pid": 1, "started": "", "beats": 0, "leads": True}
    with store.writing() as db:
        db.execute(insert(schema.processes).values(**row))


def state(store: Store) -> str | None:
    with store.reading() as db:
        return db.scalar(select(schema.operations.c.state))


def test_a_claim_that_was_stored_though_that_was_not_heard(home: Home, tmp_path: Path) -> None:
    store = HardOfHearing(home.database)
    enter(store)
    ask_for_image(store, tmp_path)
    store.unheard = 1
    with building(store, home):
        eventually(lambda: state(store) == "Succeeded", what="the end of the build")
    assert (home.images / "i" / "app" / "score.py").exists()
    with store.reading() as db:
        assert db.scalar(select(schema.operations.c.attempts)) == 1


def test_a_build_begins_again_when_the_store_was_away(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = iter([StoreBusy()]), Builder._is_open

    def first_in_vain(builder: Builder, operation: Row[Any]) -> bool:
        if away := next(looks, None):
            raise away
        return look(builder, operation)

    monkeypatch.setattr(Builder, "_is_open", first_in_vain)
    store = HardOfHearing(home.database)
    enter(store)
    ask_for_image(store, tmp_path)
    with building(store, home):
        eventually(lambda: state(store) == "Succeeded", what="the end of the build")
    with store.reading() as db:
        assert db.scalar(select(schema.operations.c.attempts)) == 1, "no process ended meanwhile"
    assert "the database is unavailable; this build restarts" in build_log(home, "i").read()[1].decode()


def test_a_process_that_the_others_go_on_without_claims_nothing(home: Home, tmp_path: Path) -> None:
    store = HardOfHearing(home.database)
    ask_for_image(store, tmp_path)
    with building(store, home):
        before = store.unheard
        eventually(lambda: store.unheard <= before - 2, what="its attempts")
        assert state(store) == "NotStarted"
        enter(store)
        eventually(lambda: state(store) == "Succeeded", what="the end of the build")


def test_a_failure_of_the_cleaning_up_ends_no_worker(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes come and go while all of them are listed."""
    monkeypatch.setattr(BuildSteps, "remove_leftovers", Mock(side_effect=KeyError("pop from an empty set")))
    monkeypatch.setattr(building_builder, "end_orphans", Mock(side_effect=KeyError("pop from an empty set")))
    store = HardOfHearing(home.database)
    enter(store)
    ask_for_image(store, tmp_path)
    with store.writing() as db:
        db.execute(update(schema.operations).values(attempts=1))
    with building(store, home):
        eventually(lambda: state(store) == "Failed", what="the end of the build, which is not stuck")
        assert {"builder-0", "builder-1"} <= {thread.name for thread in threading.enumerate()}
        with store.writing() as db:
            db.execute(update(schema.operations).values(state="NotStarted", attempts=0, end_time=None))
        eventually(lambda: state(store) == "Succeeded", what="the end of the build, asked for again")
