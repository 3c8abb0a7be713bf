"""The workers that build images, without the rest of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import msgspec
from sqlalchemy import Connection, insert, select

from mlmgmt_nb.contract import Asset, Manifest, TargetRuntime
from mlmgmt_nb.service import schema
from mlmgmt_nb.service.artifacts import ArtifactStore
from mlmgmt_nb.service.building.builder import Builder
from mlmgmt_nb.service.building.environments import Environments
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.home import Home
from mlmgmt_nb.service.store import OutcomeUnknown, Store
from tests.conftest import eventually


class HardOfHearing(Store):
    """A store that does not hear once that a write was committed."""

    unheard = 0

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as db:
            yield db
        self.unheard -= 1
        if self.unheard == 0:
            raise OutcomeUnknown


def ask_for_image(store: Store, driver: Path) -> None:
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


def test_a_claim_that_was_stored_though_that_was_not_heard(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.open()
    store = HardOfHearing(home.database)
    driver = tmp_path / "score.py"
    driver.write_text("def run(body):\n    return 1\n")
    ask_for_image(store, driver)
    builder = Builder(
        store,
        home,
        Fetcher(ArtifactStore(home.artifacts), frozenset({"file"}), None),
        Environments(home.environments),
        process_id=lambda: "p",
        docker=Mock(),
        bases={"Python": "none"},
    )
    store.unheard = 1
    builder.start()

    def ended() -> bool:
        with store.reading() as db:
            return db.scalar(select(schema.operations.c.state)) == "Succeeded"

    try:
        eventually(ended, what="the end of the build")
        assert (home.images / "i" / "app" / "score.py").exists()
    finally:
        builder.stop()
        store.close()
        home.close()
