"""The service processes that share a database, and the election of their leader.

The leader runs the replicas of all services; all processes respond to requests and build images. With SQLite there is
one process, which leads. With PostgreSQL, each process increments a heartbeat counter in its row about once a second,
and reads the counters of the others. A process is dead when its place in the state folder is free, which the end of the
process causes immediately, or when its counter has not changed for many reads. Any process that finds a dead process
removes its row and releases its claims; if it was the leader, another process leads. The election does not depend on
clocks, and while the database is unavailable no process is declared dead.

All processes run on one machine and one state folder. A folder that was copied to another machine under the same path
cannot be distinguished from the original, and its places do not show which processes run on the original machine. So a
starting process watches the counters of processes of other machines for a while: if they change, the processes are
alive and the start is refused; otherwise a reboot probably ended them.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import PASSING, Store
from mlmgmt_nb.service.system.processes import machine, started

__all__ = ["Membership"]

log = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0
_WATCH_SECONDS = 5.0
"""Seconds of silence after which a starting process declares processes of other machines dead."""
SILENT_LOOKS = 15
"""Reads without a change of the counter after which a stalled process is declared dead."""

_processes = schema.processes


class Membership:
    """This process among those that share the database.

    Args:
        release: called in a transaction to release the claims of processes that no longer exist.
        on_release: called after that transaction; also when other processes have taken the claims of this one.
        on_change: called when this process has become the leader or is no longer the leader.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        release: Callable[[Connection], None],
        *,
        on_release: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self.id = str(uuid.uuid4())
        self.leads = False
        self._store = store
        self._home = home
        self._release = release
        self._on_release = on_release
        self._on_change = on_change
        self._machine = machine()
        self._silent: dict[str, tuple[int, int]] = {}
        self._has_released = False
        self._is_blind = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)

    def join(self) -> None:
        """Join the processes that share the database.

        Raises:
            LocalServiceError: processes on another machine use this database.
        """
        self._watch_elsewhere()
        try:
            self._join()
        except PASSING as error:
            if self._store.is_shared:
                raise
            # The disk may be full. This is the only process: run anyway, and add the row when the store can be written.
            log.warning("cannot record this process in the store yet: %s", error)
            self.leads = True
            self._thread.start()
        else:
            if self._store.is_shared:
                self._thread.start()

    def _join(self) -> None:
        with self._store.writing() as db:
            other_members = self._living(db)
            if far := next((row for row in other_members if row.machine != self._machine), None):
                raise LocalServiceError(
                    f"The database {self._store} is in use by processes on another machine ({far.machine.split()[0]}).",
                    fix="Run all processes that share a database on one machine, or stop the others (mlmgmt stop).",
                )
            self._enter(db)
            self._release(db)
            leads = self._lead(db, other_members)
        self.leads = leads

    def _watch_elsewhere(self) -> None:
        """Record which processes on other machines are silent, so that they can be declared dead."""
        before = self._remote_heartbeats()
        until = time.monotonic() + _WATCH_SECONDS
        beats = before
        while before and beats == before and time.monotonic() < until:
            time.sleep(_BEAT_SECONDS / 4)
            beats = self._remote_heartbeats()
        for process_id, count in beats.items():
            if before.get(process_id) == count:
                self._silent[process_id] = (count, SILENT_LOOKS)

    def _remote_heartbeats(self) -> dict[str, int]:
        with self._store.reading() as db:
            return {row.id: row.beats for row in db.execute(select(_processes)) if self._is_elsewhere(row)}

    def _is_elsewhere(self, row: Row[Any]) -> bool:
        """Return whether a process ran on another machine, or on this machine before a reboot.

        With SQLite, the only process is on this machine.
        """
        return self._store.is_shared and row.machine != self._machine

    def poll(self) -> None:
        """Update the heartbeat and check the other processes now."""
        self._wake.set()

    def leave(self) -> None:
        """Leave the group; another process may lead from now on."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            with self._store.writing() as db:
                db.execute(delete(_processes).where(_processes.c.id == self.id))
                self._release(db)
        except PASSING:
            log.warning("the store is unavailable; the other processes will notice that this one has ended")

    def _run(self) -> None:
        is_away = False
        while not self._stopping:
            self._wake.wait(_BEAT_SECONDS)
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._beat()
                is_away = False
            except PASSING as error:
                if not is_away:
                    log.warning("the store is unavailable: %s", error)
                is_away = True
            except Exception:
                # A process without a heartbeat is declared dead.
                log.exception("cannot update the heartbeat of this process")

    def _beat(self) -> None:
        led = self.leads
        with self._store.writing() as db:
            beaten = db.execute(
                update(_processes).where(_processes.c.id == self.id).values(beats=_processes.c.beats + 1)
            )
            other_members = self._living(db)
            if beaten.rowcount == 0:
                # The other processes declared this one dead and released its claims: join again.
                log.warning("this process stalled for so long that the other processes took over its work")
                self.id = str(uuid.uuid4())
                self._has_released = True
                self._enter(db)
            leads = self._lead(db, other_members)
        self.leads = leads
        if self._has_released:
            self._has_released = False
            self._on_release()
        if leads != led:
            log.info("this process %s", "is now the leader" if leads else "is no longer the leader")
            self._on_change()

    def _enter(self, db: Connection) -> None:
        row = {
            "id": self.id,
            "place": self._home.place,
            "machine": self._machine,
            "pid": os.getpid(),
            "started": started(os.getpid()),
            "beats": 0,
            "leads": False,
        }
        db.execute(insert(_processes), row)

    def _lead(self, db: Connection, other_members: list[Row[Any]]) -> bool:
        if any(row.leads for row in other_members):
            return False
        db.execute(update(_processes).where(_processes.c.id == self.id).values(leads=True))
        return True

    def _living(self, db: Connection) -> list[Row[Any]]:
        """Return the other processes that are alive. Remove the others."""
        rows = db.execute(select(_processes).where(_processes.c.id != self.id)).all()
        there = [row for row in rows if self._is_elsewhere(row) or self._has_its_place(row)]
        living = [row for row in there if not self._is_silent(row)]
        dead = [row for row in rows if row not in living]
        if dead:
            self._remove(db, dead, there)
        self._silent = {row.id: self._silent[row.id] for row in living}
        return living

    def _has_its_place(self, row: Row[Any]) -> bool:
        try:
            taken = self._home.is_taken(row.place)
        except OSError as error:
            # The disk may be read-only. The heartbeat of the process still shows whether it is alive.
            if not self._is_blind:
                log.warning("cannot check the places in the state folder: %s", error)
            taken, self._is_blind = True, True
        else:
            self._is_blind = False
        return taken

    def _is_silent(self, row: Row[Any]) -> bool:
        beats, looks = self._silent.get(row.id, (row.beats, 0))
        looks = looks + 1 if beats == row.beats else 0
        self._silent[row.id] = (row.beats, looks)
        return looks >= SILENT_LOOKS

    def _remove(self, db: Connection, dead: list[Row[Any]], there: list[Row[Any]]) -> None:
        """Remove dead processes and release their claims; end those that are still there."""
        for row in dead:
            log.warning("process %s has ended or stalled; other processes take over its work", row.pid)
            if row in there:
                self._end(row)
            db.execute(delete(_processes).where(_processes.c.id == row.id))
        self._release(db)
        self._has_released = True

    def _end(self, row: Row[Any]) -> None:
        """End a leader that stalled: its replicas hold the ports of all services."""
        if row.leads and row.machine == self._machine and started(row.pid) == row.started:
            log.warning("the leading process %s stalled; ending it", row.pid)
            os.kill(row.pid, signal.SIGKILL)
