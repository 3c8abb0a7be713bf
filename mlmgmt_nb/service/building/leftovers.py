"""What builds have left behind that nobody is at work on any more: processes, half-made folders, containers."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

from sqlalchemy import Connection, select

from mlmgmt_nb.service.building.docker.builder import DockerBuilder
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.compute_ids import DOCKER
from mlmgmt_nb.service.docker_engine import EngineError
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.system.processes import end_orphans

__all__ = ["partial_folder", "sweep"]

log = logging.getLogger(__name__)

_PARTIAL = ".partial"


def partial_folder(home: Home, image_id: str, claimed_by: str) -> Path:
    """Where a process makes an image. Each has its own: another one may still be at work on the same image, of which
    this one believes that it is dead."""
    return home.images / f"{image_id}.{claimed_by}{_PARTIAL}"


def sweep(store: Store, home: Home, environments: Environments, docker: DockerBuilder) -> None:
    """Remove it, also that of builds which are not begun again. It may be called at any time."""
    if count := end_orphans(home.path):
        log.warning("ended %s process(es) of builds, which a crash had left behind", count)
    # Looked at before the store: what is made from now on is not among them.
    partial = list(home.images.glob(f"*{_PARTIAL}"))
    with store.reading() as db:
        at_work = {partial_folder(home, image_id, claimed_by) for image_id, claimed_by in _claims(db)}
        without_result = {home.images / image_id for image_id in _without_result(db)}
        uses_docker = db.scalar(select(schema.images.c.id).where(schema.images.c.compute_id == DOCKER).limit(1))
    for folder in [*partial, *without_result]:
        if folder not in at_work:
            shutil.rmtree(folder, ignore_errors=True)
    environments.sweep()
    if uses_docker is not None:
        # No build of local compute waits for an engine that may be far away.
        threading.Thread(target=_sweep_containers, args=(docker,), name="build-sweep", daemon=True).start()


def _sweep_containers(docker: DockerBuilder) -> None:
    try:
        docker.sweep()
    except EngineError as error:
        # Whoever leads does it again when it removes containers of replicas.
        log.warning("containers of earlier builds cannot be removed at present: %s", error)


def _claims(db: Connection) -> list[tuple[str, str]]:
    """Return the builds that processes are at work on, with these."""
    operations, processes = schema.operations, schema.processes
    query = (
        select(operations.c.resource_id, operations.c.claimed_by)
        .join(processes, processes.c.id == operations.c.claimed_by)
        .where(operations.c.kind == "Image", operations.c.state == "Running")
    )
    return [(row.resource_id, row.claimed_by) for row in db.execute(query)]


def _without_result(db: Connection) -> list[str]:
    images = schema.images
    return list(db.scalars(select(images.c.id).where(images.c.state.in_(["Failed", "Cancelled"]))))
