"""Automatic removal of operations that ended long ago, and of recorded requests that are too old."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable

from sqlalchemy import delete, select

from mlmgmt_nb.contract.recording import Recording
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.files.recordings import Recordings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import PASSING, Store

__all__ = ["Pruner"]

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 3600.0


class Pruner:
    """A thread that removes old operations and recorded requests at its start and every hour.

    Args:
        days: days to keep operations after they end.
        recordings: the recorded requests of services.
        leads: returns whether this process is the leader; other processes remove nothing.
    """

    def __init__(self, store: Store, days: float, recordings: Recordings, leads: Callable[[], bool]) -> None:
        self._store = store
        self._days = days
        self._recordings = recordings
        self._leads = leads
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pruner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                if self._leads():
                    self._prune()
                    self._recordings.prune(self._ages())
            except (*PASSING, OSError) as error:
                log.warning("cannot remove old operations and recorded requests yet: %s", error)
            if self._stopping.wait(_PAUSE_SECONDS):
                return

    def _ages(self) -> dict[str, float]:
        """Return the seconds for which to keep recorded requests, by service."""
        services, deployments = schema.services, schema.deployments
        specs = select(services.c.id, deployments.c.spec).join(
            deployments, deployments.c.id == services.c.deployment_id
        )
        with self._store.reading() as db:
            return {row.id: (row.spec.recording or Recording()).age for row in db.execute(specs)}

    def _prune(self) -> None:
        operations = schema.operations
        before = now() - dt.timedelta(days=self._days)
        with self._store.writing() as db:
            removed = db.execute(delete(operations).where(operations.c.end_time < before)).rowcount
        if removed:
            log.info("removed %s operations that ended more than %g days ago", removed, self._days)
