"""The workers that build images: they claim operations from the store, and can restart a build at any point."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, select, update

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.service.building.build_steps import BuildSteps
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.context import compile_runtime
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.files.disk import DISK_FULL, READ_ONLY
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import PASSING, Store
from mlmgmt_nb.service.store.transitions import image_ended
from mlmgmt_nb.service.system.processes import end_orphans, ownership

__all__ = ["Builder", "build_log", "release_builds"]

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Maximum attempts of a build that crashes of the service interrupt."""
WORKERS = 2
_STORE_SECONDS = 1.0
"""Pause before a failed write to the store is retried."""
_STOP_SECONDS = 5.0


def build_log(home: Home, image_id: str) -> Log:
    return Log(home.logs / "builds" / image_id)


def release_builds(db: Connection) -> None:
    """Re-queue builds claimed by processes that no longer exist; fail builds that were interrupted too often.

    Args:
        db: transaction to use.
    """
    operations, processes = schema.operations, schema.processes
    left = (
        operations.c.kind == "Image",
        operations.c.state == "Running",
        operations.c.claimed_by.is_(None) | operations.c.claimed_by.not_in(select(processes.c.id)),
    )
    error = ErrorResponse(
        code="Interrupted",
        message=f"The service ended {MAX_ATTEMPTS} times while building this image; it is not retried.",
    )
    for image_id in db.scalars(select(operations.c.resource_id).where(*left, operations.c.attempts >= MAX_ATTEMPTS)):
        image_ended(db, image_id, "Failed", error)
    db.execute(update(operations).where(*left).values(state="NotStarted", claimed_by=None))


class Builder:
    """The build workers, as threads.

    Args:
        steps: the steps of one build.
        process_id: id of this process; operations are claimed with it.
    """

    def __init__(self, store: Store, home: Home, steps: BuildSteps, process_id: Callable[[], str]) -> None:
        self._store = store
        self._home = home
        self._steps = steps
        self._process_id = process_id
        self._ownership = ownership(home.path)
        self._wake = threading.Condition()
        self._stopping = False
        # Keyed by image and by the id of the claim, which changes when this process has stalled.
        self._under_way: dict[tuple[str, str], Cancellation] = {}
        self._claiming = threading.Lock()
        self._is_unsure = False
        self._has_leftovers = True
        self._threads = [threading.Thread(target=self._work, name=f"builder-{n}", daemon=True) for n in range(WORKERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Check for new builds."""
        with self._wake:
            self._wake.notify_all()

    def clean_up(self) -> None:
        """Clean up after processes that ended or stalled and lost their claims, possibly this process."""
        this_process = self._process_id()
        for (_, claimed_by), cancellation in list(self._under_way.items()):
            if claimed_by != this_process:
                cancellation.cancel()
        self._has_leftovers = True
        self.wake()

    def cancel(self, image_id: str) -> None:
        """Stop a running build whose operation has ended in the store."""
        for (of_image, _), cancellation in list(self._under_way.items()):
            if of_image == image_id:
                cancellation.cancel()

    def stop(self) -> None:
        """Stop the workers and the processes of their builds; the next service process restarts those builds."""
        self._stopping = True
        for cancellation in list(self._under_way.values()):
            cancellation.cancel()
        self.wake()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while not self._stopping:
            self._sweep()
            try:
                row = self._claim()
            except PASSING as error:
                log.warning("cannot claim a build: %s", error)
                self._is_unsure = True
                row = None
            if row is not None:
                try:
                    self._build(row)
                except PASSING as error:
                    log.warning("restarting the build of image %s: %s", row.resource_id, error)
                    self._is_unsure = True
                except Exception:
                    # The worker must survive a failure in one build. The build is claimed again.
                    log.exception("the build of image %s was interrupted", row.resource_id)
                    self._is_unsure = True
                continue
            with self._wake:
                is_idle = not self._wake.wait(timeout=1.0)
            if is_idle:
                self._prepare_next()

    def _prepare_next(self) -> None:
        # Not earlier: while a service starts, this would take the time of its first answer.
        try:
            self._steps.prepare_next()
        except OSError as error:
            log.info("the next build begins without preparation: %s", error)

    def _sweep(self) -> None:
        """Remove leftovers of earlier builds before the next build starts, and create missing byte code."""
        with self._claiming:
            if not self._has_leftovers:
                return
            self._has_leftovers = False
            # Do this now: a user waits for the first build.
            compile_runtime()
            try:
                self._steps.remove_leftovers()
            except PASSING as error:
                log.warning("cannot look for leftovers of builds: %s", error)
                self._has_leftovers = True
            except OSError as error:
                log.warning("cannot remove leftovers of builds: %s", error)
            except Exception:  # the worker must survive
                log.exception("cannot remove leftovers of builds")

    def _claim(self) -> Row[Any] | None:
        """Move the oldest waiting operation to Running."""
        operations, images = schema.operations, schema.images
        process_id = self._process_id()
        waiting = (
            select(operations)
            .where(operations.c.kind == "Image", operations.c.state == "NotStarted")
            .order_by(operations.c.seq)
            .limit(1)
        )
        with self._store.reading() as db:
            if db.execute(waiting).one_or_none() is None and not self._is_unsure:
                return None
        with self._claiming:
            with self._store.writing() as db:
                if db.scalar(select(schema.processes.c.id).where(schema.processes.c.id == process_id)) is None:
                    # The other processes declared this one dead; it has not noticed yet, and will get another id.
                    return None
                if self._is_unsure:
                    self._is_unsure = False  # first: another worker may become unsure in the meantime
                    # A claim may have been stored even though the confirmation was lost.
                    at_work = [image_id for image_id, claimed_by in list(self._under_way) if claimed_by == process_id]
                    unfinished = (operations.c.claimed_by == process_id, operations.c.resource_id.not_in(at_work))
                    release = update(operations).where(*unfinished, operations.c.state == "Running")
                    # Not an attempt: only those that the end of a process interrupts are counted.
                    db.execute(release.values(state="NotStarted", attempts=operations.c.attempts - 1))
                row = db.execute(waiting).one_or_none()
                if row is None:
                    return None
                db.execute(
                    update(operations)
                    .where(operations.c.id == row.id)
                    .values(state="Running", attempts=operations.c.attempts + 1, claimed_by=process_id)
                )
                db.execute(update(images).where(images.c.id == row.resource_id).values(state="Running"))
                row = db.execute(select(operations).where(operations.c.id == row.id)).one()
            # Only after the write: if it fails, no process works on the build.
            self._under_way[row.resource_id, process_id] = Cancellation(self._ownership)
            return row

    def _build(self, operation: Row[Any]) -> None:
        image_id = operation.resource_id
        output = build_log(self._home, image_id)
        started = time.monotonic()
        cancellation = self._under_way[image_id, operation.claimed_by]
        if self._stopping:
            cancellation.cancel()
        try:
            if operation.attempts > 1:
                end_orphans(self._home.path)
                output.line(f"restarting this build: attempt {operation.attempts}")
            self._check_open(operation, cancellation)
            made = self._steps.run(
                operation, output, cancellation, check_claim=lambda: self._check_open(operation, cancellation)
            )
        except BuildError as error:
            if not self._stopping:
                response = ErrorResponse(code=error.code, message=error.message)
                self._finish(operation, output, f"the build failed: {error.message}", "Failed", response)
            elif self._is_open(operation):  # and not claimed by another process
                output.line("the service is stopping; this build restarts with the next service process")
        except PASSING:
            output.line("the database is unavailable; this build restarts")
            raise
        except Exception as error:
            response = _unexpected(error)
            if response.code == "InternalError":
                log.exception("the build of image %s failed", image_id)
            self._finish(operation, output, response.message, "Failed", response)
        else:
            took = time.monotonic() - started
            self._finish(operation, output, f"built in {took:.2f} s", "Succeeded", None, **made)
        finally:
            del self._under_way[image_id, operation.claimed_by]

    def _check_open(self, operation: Row[Any], cancellation: Cancellation) -> None:
        """Detect that an operation ended without `cancel`, or that another process claimed it while it stalled."""
        if not self._is_open(operation):
            cancellation.cancel()

    def _is_open(self, operation: Row[Any]) -> bool:
        """Return whether an operation is running and still claimed by this process."""
        operations = schema.operations
        claimed = select(operations.c.id).where(
            operations.c.id == operation.id,
            operations.c.end_time.is_(None),
            operations.c.claimed_by == operation.claimed_by,
        )
        with self._store.reading() as db:
            return db.scalar(claimed) is not None

    def _finish(
        self,
        operation: Row[Any],
        output: Log,
        message: str,
        state: str,
        error: ErrorResponse | None,
        **made: str,
    ) -> None:
        """End a build, unless it was ended or claimed by another process; `message` is the last line of its log."""
        image_id, operations = operation.resource_id, schema.operations
        of_image = select(operations.c.state, operations.c.claimed_by).where(operations.c.id == operation.id)
        is_logged = False
        while not self._stopping:
            try:
                with self._store.writing() as db:
                    ended = image_ended(db, image_id, state, error, claimed_by=operation.claimed_by, **made)
                    final = db.execute(of_image).one()
                    is_cancelled = final.state == "Cancelled" and final.claimed_by == operation.claimed_by
                    if (ended or is_cancelled) and not is_logged:
                        # Inside the transaction: no other process can claim the build, and its end is not visible yet.
                        is_logged = output.line(message if ended else "The build was cancelled.")
            except PASSING as problem:
                log.warning("cannot store the end of the build of image %s yet: %s", image_id, problem)
                time.sleep(_STORE_SECONDS)
                continue
            if final.state == "Cancelled":  # at the last moment
                shutil.rmtree(self._home.images / image_id, ignore_errors=True)
            return


def _unexpected(error: Exception) -> ErrorResponse:
    """Return the error for a failure that neither the manifest nor the driver caused."""
    number = error.errno if isinstance(error, OSError) else None
    if number in DISK_FULL:
        message = "The disk of the service is full. Free some space, then create the image again."
        return ErrorResponse(code="DiskFull", message=message)
    if number in READ_ONLY:
        message = "The state folder is read-only. Make its disk writable, then create the image again."
        return ErrorResponse(code="StoreReadOnly", message=message)
    message = f"The service failed while building: {type(error).__name__}: {error}"
    return ErrorResponse(code="InternalError", message=message)
