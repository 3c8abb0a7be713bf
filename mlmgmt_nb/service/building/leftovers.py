"""Leftovers of builds that no process works on: processes, incomplete folders, containers."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

from sqlalchemy import Connection, select

from mlmgmt_nb.service.building.image_builders import ImageBuilders
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
    """Return the folder where a process builds an image. Each process has its own: another process that was wrongly
    declared dead may still be building the same image.
    """
    return home.images / f"{image_id}.{claimed_by}{_PARTIAL}"


def sweep(store: Store, home: Home, environments: Environments, images: ImageBuilders) -> None:
    """Remove leftovers, including those of builds that are not restarted. Safe to call at any time."""
    if count := end_orphans(home.path):
        log.warning("ended %s process(es) of builds, left over from a crash", count)
    # Listed before reading the store: folders created from now on are not among them.
    partial = list(home.images.glob(f"*{_PARTIAL}"))
    with store.reading() as db:
        at_work = {partial_folder(home, image_id, claimed_by) for image_id, claimed_by in _claims(db)}
        without_result = {home.images / image_id for image_id in _without_result(db)}
        uses_docker = db.scalar(select(schema.images.c.id).where(schema.images.c.compute_id == DOCKER).limit(1))
    for folder in [*partial, *without_result]:
        if folder not in at_work:
            shutil.rmtree(folder, ignore_errors=True)
    environments.sweep()
    images.sweep_files()
    if uses_docker is not None:
        # Builds for compute `local` must not wait for an engine that may be far away.
        threading.Thread(target=_sweep_containers, args=(images,), name="build-sweep", daemon=True).start()


def _sweep_containers(images: ImageBuilders) -> None:
    try:
        images.sweep_engine()
    except EngineError as error:
        # The leader repeats this when it removes containers of replicas.
        log.warning("cannot remove containers of earlier builds yet: %s", error)


def _claims(db: Connection) -> list[tuple[str, str]]:
    """Return the running builds and the processes that claimed them."""
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
