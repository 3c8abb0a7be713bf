"""The workers that build images: they claim operations from the store, and can begin again at any point."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, select, update

from mlmgmt_nb.contract import ErrorResponse, Manifest, Model
from mlmgmt_nb.service import schema
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.context import Context, compile_runtime
from mlmgmt_nb.service.building.environments import (
    Environments,
    lacks,
    pip_requirements,
    requirement_lines,
    runtime_requirements,
    with_spark,
)
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.home import Home
from mlmgmt_nb.service.logs import Log
from mlmgmt_nb.service.outcomes import image_ended
from mlmgmt_nb.service.store import Store

__all__ = ["Builder", "build_log"]

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Builds that a crash of the service interrupted begin again, so often at most."""
WORKERS = 2


def build_log(home: Home, image_id: str) -> Log:
    return Log(home.logs / "builds" / image_id)


class Builder:
    """The workers, as threads."""

    def __init__(self, store: Store, home: Home, fetcher: Fetcher, environments: Environments) -> None:
        self._store = store
        self._home = home
        self._fetcher = fetcher
        self._environments = environments
        self._wake = threading.Condition()
        self._stopping = False
        self._under_way: dict[str, Cancellation] = {}
        self._threads = [threading.Thread(target=self._work, name=f"builder-{n}", daemon=True) for n in range(WORKERS)]

    def start(self) -> None:
        """Takes up what an earlier service left, then works."""
        self._take_up()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is something to build."""
        with self._wake:
            self._wake.notify_all()

    def cancel(self, image_id: str) -> None:
        """Stops a build under way, whose operation has been ended in the store."""
        if cancellation := self._under_way.get(image_id):
            cancellation.cancel()

    def stop(self) -> None:
        """Ends the workers. A build under way is left as it is; the next service begins it again."""
        self._stopping = True
        self.wake()

    def _take_up(self) -> None:
        operations = schema.operations
        left = (operations.c.kind == "Image", operations.c.state == "Running")
        error = ErrorResponse(
            code="Interrupted",
            message=f"The service ended {MAX_ATTEMPTS} times while it built this image; it is not tried again.",
        )
        with self._store.writing() as db:
            rows = db.execute(select(operations).where(*left, operations.c.attempts >= MAX_ATTEMPTS)).all()
            for row in rows:
                image_ended(db, row.resource_id, "Failed", error)
            db.execute(update(operations).where(*left).values(state="NotStarted"))

    def _work(self) -> None:
        # Now rather than in the first build, which somebody waits for.
        compile_runtime()
        while not self._stopping:
            row = self._claim()
            if row is not None:
                self._build(row)
                continue
            with self._wake:
                self._wake.wait(timeout=1.0)

    def _claim(self) -> Row[Any] | None:
        """Moves the oldest waiting operation to Running."""
        operations, images = schema.operations, schema.images
        waiting = (
            select(operations)
            .where(operations.c.kind == "Image", operations.c.state == "NotStarted")
            .order_by(operations.c.seq)
            .limit(1)
        )
        with self._store.reading() as db:
            if db.execute(waiting).one_or_none() is None:
                return None
        with self._store.writing() as db:
            row = db.execute(waiting).one_or_none()
            if row is not None:
                db.execute(
                    update(operations)
                    .where(operations.c.id == row.id)
                    .values(state="Running", attempts=operations.c.attempts + 1)
                )
                db.execute(update(images).where(images.c.id == row.resource_id).values(state="Running"))
        return row

    def _build(self, operation: Row[Any]) -> None:
        image_id = operation.resource_id
        output = build_log(self._home, image_id)
        started = time.monotonic()
        cancellation = self._under_way[image_id] = Cancellation()
        try:
            self._check_open(operation.id, cancellation)
            interpreter = self._build_context(image_id, operation.account, output, cancellation)
        except BuildError as error:
            output.line(f"the build failed: {error.message}")
            self._finish(image_id, "Failed", ErrorResponse(code=error.code, message=error.message))
        except Exception as error:
            log.exception("the build of image %s failed", image_id)
            message = f"The service failed while building: {type(error).__name__}: {error}"
            output.line(message)
            self._finish(image_id, "Failed", ErrorResponse(code="InternalError", message=message))
        else:
            output.line(f"built in {time.monotonic() - started:.2f} s")
            location = (self._home.images / image_id).as_uri()
            self._finish(image_id, "Succeeded", interpreter=interpreter, location=location)
        finally:
            del self._under_way[image_id]

    def _check_open(self, operation_id: str, cancellation: Cancellation) -> None:
        """Notices that the operation was cancelled after its row was claimed and before `cancel` could reach it."""
        operations = schema.operations
        with self._store.reading() as db:
            if db.scalar(select(operations.c.end_time).where(operations.c.id == operation_id)) is not None:
                cancellation.cancel()

    def _build_context(self, image_id: str, account: str, output: Log, cancellation: Cancellation) -> str:
        """Fills the build context and realises it for local compute; gives the interpreter."""
        manifest, models = self._inputs(image_id)
        final = self._home.images / image_id
        partial = final.with_suffix(".partial")
        for leftover in (partial, final):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            output.line(f"[1/4] models of manifest {manifest.name!r} version {manifest.version}")
            context = Context(partial, self._fetcher, output, cancellation)
            context.add_models(models)
            output.line("[2/4] driver and assets")
            context.add_assets(manifest)
            context.describe(account, models)
            output.line("[3/4] requirements")
            interpreter, requirements = self._realise(context, manifest, output, cancellation)
            output.line("[4/4] build context")
            cancellation.check()
            context.finish(requirements)
            partial.replace(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return interpreter

    def _inputs(self, image_id: str) -> tuple[Manifest, Sequence[Model]]:
        images, manifests, links, models = schema.images, schema.manifests, schema.manifest_models, schema.models
        with self._store.reading() as db:
            doc = db.scalar(
                select(manifests.c.doc)
                .join(images, images.c.manifest_id == manifests.c.id)
                .where(images.c.id == image_id)
            )
            manifest = msgspec.json.decode(doc or b"", type=Manifest)
            rows = db.scalars(
                select(models.c.doc)
                .join(links, links.c.model_id == models.c.id)
                .where(links.c.manifest_id == manifest.id)
                .order_by(links.c.position)
            )
            return manifest, [msgspec.json.decode(row, type=Model) for row in rows]

    def _realise(
        self, context: Context, manifest: Manifest, output: Log, cancellation: Cancellation
    ) -> tuple[str, str]:
        """The interpreter that runs the driver on this machine, and the requirements of the image."""
        properties = manifest.target_runtime.properties
        interpreter = properties.get("pythonInterpreter") or sys.executable
        lines: list[str] = []
        if url := properties.get("pipRequirements"):
            path = context.add_file(url, "pipRequirements")
            lines += requirement_lines(path)
            path.unlink()
        if url := properties.get("condaEnvFile"):
            path = context.add_file(url, "condaEnvFile")
            lines += pip_requirements(path)
            path.unlink()
        if manifest.target_runtime.runtime_type == "SparkPython":
            lines = with_spark(lines, is_installed=lambda: lacks(interpreter, ["pyspark"]) is None)
        if not lines:
            output.line(f"none; it runs with {interpreter}")
            _check_interpreter(interpreter)
            return interpreter, "\n".join(runtime_requirements())
        wanted = context.folder / "requirements.in"
        wanted.write_text("\n".join(lines) + "\n")
        environment = self._environments.ensure(wanted, output, cancellation)
        wanted.unlink()
        return str(environment.interpreter), environment.lock.read_text()

    def _finish(self, image_id: str, state: str, error: ErrorResponse | None = None, **made: str) -> None:
        with self._store.writing() as db:
            was_open = image_ended(db, image_id, state, error, **made)
        if state == "Succeeded" and not was_open:  # cancelled in the last moment
            shutil.rmtree(self._home.images / image_id, ignore_errors=True)


def _check_interpreter(interpreter: str) -> None:
    """Raises BuildError unless it is a Python that has what the scoring runtime needs."""
    if interpreter != sys.executable and (reason := lacks(interpreter, ["uvicorn", "httptools", "msgspec"])):
        raise BuildError(
            "BadInterpreter",
            f"pythonInterpreter: {interpreter} lacks what the scoring runtime needs ({reason}); "
            "install mlmgmt-nb there, or give requirements.",
        )
