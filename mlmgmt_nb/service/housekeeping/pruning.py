"""Automatic removal of operations that ended long ago."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable

from sqlalchemy import delete

from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import PASSING, Store

__all__ = ["Pruner"]

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 3600.0


class Pruner:
    """A thread that removes them at the start and every hour.

    Args:
        days: days to keep operations after they end.
        leads: returns whether this process is the leader, which does this.
    """

    def __init__(self, store: Store, days: float, leads: Callable[[], bool]) -> None:
        self._store = store
        self._days = days
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
            except PASSING as error:
                log.warning("cannot remove operations that ended long ago yet: %s", error)
            if self._stopping.wait(_PAUSE_SECONDS):
                return

    def _prune(self) -> None:
        operations = schema.operations
        before = now() - dt.timedelta(days=self._days)
        with self._store.writing() as db:
            removed = db.execute(delete(operations).where(operations.c.end_time < before)).rowcount
        if removed:
            log.info("removed %s operations that ended more than %g days ago", removed, self._days)
