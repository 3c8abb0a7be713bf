"""The SQLite file of a store, which a user may delete or replace while the store has it open.

SQLite keeps writing to a deleted file: all that it confirms would be lost when the process ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

__all__ = ["DatabaseFile", "StoreMissing", "saved_copy"]

log = logging.getLogger(__name__)


class StoreMissing(Exception):  # noqa: N818 - like the other errors of the store
    """The database file was deleted or replaced while the store is open; nothing was changed."""


def saved_copy(database: Path) -> Path:
    """Return the path of the copy of a database that was deleted while a service had it open."""
    return database.with_suffix(f".saved{database.suffix}")


class DatabaseFile:
    """An SQLite file, with checks that it is still the file that the connections of the engine have open."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self._engine = engine
        self._opened: os.stat_result | None = None
        self._saving = threading.Lock()
        self._is_saved = False

    def remember(self) -> None:
        """Remember the file that is open now."""
        self._opened = self.path.stat()

    def check(self) -> None:
        """Check that the file is still there. If it is not, save the content that is still open, once.

        Raises:
            StoreMissing: the file was deleted or replaced.
        """
        if self._is_there():
            return
        with self._saving:
            self._is_saved = self._is_saved or self._save()
        raise StoreMissing(self._message())

    def check_before_connecting(self) -> None:
        """Check that the file is still there: a new connection would create an empty database in its place.

        Raises:
            StoreMissing: the file was deleted or replaced.
        """
        if not self._is_there():
            raise StoreMissing(self._message())

    def _is_there(self) -> bool:
        try:
            return self._opened is None or os.path.samestat(self._opened, self.path.stat())
        except FileNotFoundError:
            return False
        except OSError:  # SQLite reports it
            return True

    def _save(self) -> bool:
        """Copy the open database. Return whether that succeeded; a failed copy is tried again later."""
        copy = saved_copy(self.path)
        try:
            copy.unlink(missing_ok=True)
            with closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("VACUUM INTO ?", [str(copy)])
        except (OSError, sqlite3.Error, DBAPIError, StoreMissing) as error:
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)  # incomplete
            log.error("%s was deleted or replaced, and its content cannot be saved: %s", self.path, error)
            return False
        log.error("%s was deleted or replaced; its content was saved as %s", self.path, copy)
        return True

    def _message(self) -> str:
        copy = saved_copy(self.path)
        way_back = (
            f"Its content was saved: mlmgmt stop, then mv {copy} {self.path}."
            if self._is_saved
            else "Its content could not be saved. Restore a backup to another folder: "
            "mlmgmt restore FILE --home FOLDER."
        )
        return f"The database {self.path} was deleted or replaced; nothing was changed. {way_back}"
