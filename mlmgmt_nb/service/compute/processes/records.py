"""The processes of replicas, recorded in the store so that those that outlive a crash are found."""

from __future__ import annotations

import logging
import os

from sqlalchemy import delete, insert, select

from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import PASSING, Store
from mlmgmt_nb.service.system.processes import end_group, started

__all__ = ["ReplicaProcesses"]

log = logging.getLogger(__name__)


class ReplicaProcesses:
    """The processes of replicas on this machine.

    Args:
        store: the store.
        home: the state folder; only processes that belong to it are ended.
    """

    def __init__(self, store: Store, home: Home) -> None:
        self._store = store
        self._home = home

    def add(self, pid: int, service_id: str) -> None:
        replicas = schema.replicas
        try:
            with self._store.writing() as db:
                db.execute(delete(replicas).where(replicas.c.pid == pid))
                db.execute(insert(replicas).values(pid=pid, started=started(pid), service_id=service_id))
        except PASSING:
            # A replica ends with its service in any case; only its own child processes could remain after a crash.
            log.warning("cannot record the start of replica %s in the store", pid)

    def remove(self, pid: int) -> None:
        try:
            with self._store.writing() as db:
                db.execute(delete(schema.replicas).where(schema.replicas.c.pid == pid))
        except PASSING:
            log.warning("cannot record the end of replica %s in the store", pid)

    def sweep(self) -> None:
        """End replicas that outlived the service process that started them."""
        replicas = schema.replicas
        with self._store.reading() as db:
            rows = db.execute(select(replicas)).all()
        for row in rows:
            if end_group(row.pid, row.started, f"{self._home.path}{os.sep}"):
                log.warning("ended replica %s of service %s, left over from a crash", row.pid, row.service_id)
            self.remove(row.pid)
