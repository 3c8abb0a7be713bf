"""Immediate notifications between service processes, over the database that they share.

Nothing depends on a notification: every process polls the store anyway. With SQLite there is only one process.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.store.store import Store

__all__ = ["Notifications"]

log = logging.getLogger(__name__)

_CHANNEL = "mlmgmt"
_WAIT_SECONDS = 0.5
_PAUSE_SECONDS = 1.0


class _Message(msgspec.Struct):
    sender: str
    topic: str
    subject: str


resolve(_Message)


class Notifications:
    """Send and receive notifications.

    Args:
        on_notification: called with the topic and the subject of each notification from another process, in a separate
            thread.
    """

    def __init__(self, store: Store, on_notification: Callable[[str, str], None]) -> None:
        self._store = store
        self._on_notification = on_notification
        self._me = str(uuid.uuid4())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        if self._store.is_shared:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def send(self, topic: str, subject: str = "") -> None:
        """Notify the other processes, if there may be any. A notification may be lost."""
        if not self._store.is_shared:
            return
        message = msgspec.json.encode(_Message(self._me, topic, subject)).decode()
        with contextlib.suppress(DBAPIError), self._store.engine.begin() as db:
            db.execute(text("SELECT pg_notify(:channel, :message)"), {"channel": _CHANNEL, "message": message})

    def _run(self) -> None:
        import psycopg

        while not self._stop.is_set():
            try:
                self._listen()
            except (DBAPIError, psycopg.Error):
                # The database was or is unavailable: try again in the next round. Membership logs it.
                self._stop.wait(_PAUSE_SECONDS)
            except Exception:
                # A process without notifications still works, but reacts late.
                log.exception("cannot process a notification of another process")
                self._stop.wait(_PAUSE_SECONDS)

    def _listen(self) -> None:
        pooled = self._store.engine.raw_connection()
        connection: Any = pooled.driver_connection
        # From now on the connection belongs to this thread; the pool must not close it.
        pooled.detach()
        with connection:
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")
            while not self._stop.is_set():
                for notification in connection.notifies(timeout=_WAIT_SECONDS):
                    self._take(notification.payload)

    def _take(self, payload: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            message = msgspec.json.decode(payload, type=_Message)
            if message.sender != self._me:
                self._on_notification(message.topic, message.subject)
