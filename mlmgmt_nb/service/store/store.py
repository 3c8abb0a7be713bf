"""The SQL store: one writer at a time, concurrent readers, and every completed write is durable.

It is SQLite in the state folder, or a PostgreSQL database that several service processes share. Both guarantee the
same: a read sees one moment, and writes are serialized, so that versions have no gaps, `seq` grows in the order in
which rows appear, and data that a write has read remains valid until it commits.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, RootTransaction, event, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.disk import READ_ONLY
from mlmgmt_nb.service.store import databases as engines
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.database_file import DatabaseFile, StoreMissing
from mlmgmt_nb.service.store.migrations import migrate

__all__ = ["PASSING", "OutcomeUnknown", "Store", "StoreBusy", "StoreReadOnly"]

_WRITER_KEY = 0x6D6C6D67
"""The advisory lock that a write on PostgreSQL holds: specific to this project, in the current database."""


_RESTORE = (
    "Restore a backup to another folder (mlmgmt restore FILE --home FOLDER); or move the file away: mlmgmt serve --new "
    "then starts a new account beside the other files."
)
_FIXES = {
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_NOTADB: _RESTORE,
    sqlite3.SQLITE_FULL: "Free some space on its disk.",
    sqlite3.SQLITE_BUSY: "Try again when no other program uses it.",
}
"""Fixes for an SQLite file that cannot be opened, by primary result code."""


class OutcomeUnknown(Exception):  # noqa: N818 - a state of the store, not an error of the program
    """The connection broke during a commit: the write may have taken effect or not."""


class StoreBusy(Exception):  # noqa: N818 - as above
    """Other writes of this process took so long that this write was not started."""


class StoreReadOnly(Exception):  # noqa: N818 - as above
    """The database file, or its disk, has become read-only; nothing was written."""


PASSING = (DBAPIError, OutcomeUnknown, StoreBusy, StoreMissing, StoreReadOnly)
"""Errors of reads and writes while the database is unavailable; callers that can wait should try again."""


class Store:
    """A database.

    `reading()` and `writing()` return a connection in a transaction that commits when the block ends and rolls back
    when it raises. Keep slow work out of them.

    Args:
        database: the SQLite file, or the URL of a PostgreSQL database.
        may_migrate: whether a database of an earlier version may be migrated.

    Raises:
        LocalServiceError: the database cannot be used, or has another version.
    """

    def __init__(self, database: Path | str, *, may_migrate: bool = True) -> None:
        self._file = database if isinstance(database, Path) else None
        if isinstance(database, Path):
            self.engine = engines.sqlite(database)
            self._reading = self.engine.execution_options()
            self._writing = self.engine.execution_options(immediate=True)
        else:
            self.engine = engines.postgresql(engines.postgresql_url(database))
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writing = self.engine.execution_options()
        self._writer = threading.Lock()
        self._database_file = DatabaseFile(database, self.engine) if isinstance(database, Path) else None
        try:
            self._prepare(may_migrate=may_migrate)
            self._watch()
        except DBAPIError as error:
            raise LocalServiceError(
                f"The database {self} cannot be used: {str(error.orig).strip()}",
                fix="Start it, or use another one with --database (a password in PGPASSWORD or ~/.pgpass)."
                if self.is_shared
                else _FIXES.get(_sqlite_code(error), "Make the file and its folder readable and writable."),
            ) from error

    @property
    def is_shared(self) -> bool:
        """Return whether several processes may use this database."""
        return self._file is None

    def __str__(self) -> str:
        return self.engine.url.render_as_string(hide_password=True) if self._file is None else str(self._file)

    def _prepare(self, *, may_migrate: bool) -> None:
        if self.is_shared:
            self._check_encoding()
        version = self._version()
        if version is not None and version < schema.VERSION:
            if not may_migrate:
                raise LocalServiceError(
                    f"The database {self} is of an earlier version of mlmgmt-nb (schema {version}), which is in use.",
                    fix="Stop the service processes of the earlier version (mlmgmt stop), then start this one.",
                )
            self._set_aside(version)
        with self.writing() as db:
            if version is None:
                schema.create(db)
            # Another process may have migrated it in the meantime.
            version = db.scalar(select(schema.schema_version.c.version))
            if version is None:
                db.execute(insert(schema.schema_version).values(version=schema.VERSION))
            elif version < schema.VERSION:
                migrate(db, version)
            elif version > schema.VERSION:
                raise LocalServiceError(
                    f"The state folder is of another version of mlmgmt-nb (schema {version}, here {schema.VERSION}).",
                    fix="Use the newer version of mlmgmt-nb, or another folder with --home.",
                )

    def _watch(self) -> None:
        """Record the identity of the SQLite file, which may be deleted while it is open."""
        file = self._database_file
        if file is not None:
            file.remember()
            event.listen(self.engine, "do_connect", lambda *_: file.check_before_connecting())

    def check_file(self) -> None:
        """Check that the SQLite file is still the one that is open; called periodically and before each write.

        Raises:
            StoreMissing: it was deleted or replaced.
        """
        if self._database_file is not None:
            self._database_file.check()

    def _version(self) -> int | None:
        with self.reading() as db:
            if not inspect(db).has_table(schema.schema_version.name):
                return None
            return db.scalar(select(schema.schema_version.c.version))

    def _check_encoding(self) -> None:
        with self.reading() as db:
            encoding = db.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise LocalServiceError(
                f"The database {self} is encoded in {encoding}.",
                fix="Create one with: createdb --encoding UTF8 --template template0 NAME.",
            )

    def _set_aside(self, version: int) -> None:
        """Copy the database before it is migrated."""
        if self._file is None:
            return
        copy = self._file.with_suffix(f".schema-{version}{self._file.suffix}")
        copy.unlink(missing_ok=True)
        with closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("VACUUM INTO ?", [str(copy)])

    def responds(self) -> bool:
        """Return whether the database answers a read."""
        try:
            with self.reading() as db:
                db.execute(select(schema.services.c.seq).limit(1))
        except PASSING:
            return False
        return True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._reading.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        # The lock avoids waiting in the database: SQLite polls, and PostgreSQL needs a connection.
        if not self._writer.acquire(timeout=engines.BUSY_SECONDS):
            raise StoreBusy
        try:
            self.check_file()
            with self._writing.connect() as connection, _transaction(connection) as transaction:
                if self.is_shared:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_KEY})
                yield connection
                try:
                    transaction.commit()
                except DBAPIError as error:
                    if error.connection_invalidated:
                        raise OutcomeUnknown from error
                    raise
        except OperationalError as error:
            if self._is_denied(error):
                raise StoreReadOnly from error
            raise
        finally:
            self._writer.release()

    def _is_denied(self, error: OperationalError) -> bool:
        """Return whether SQLite failed because its disk is read-only; SQLite only reports that it could not write."""
        code = _sqlite_code(error)
        if self._file is None or code not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}:
            return False
        try:
            with tempfile.TemporaryFile(dir=self._file.parent):
                return code == sqlite3.SQLITE_READONLY
        except OSError as refused:
            return refused.errno in READ_ONLY

    def close(self) -> None:
        self.engine.dispose()


def _transaction(connection: Connection) -> RootTransaction:
    """Begin a transaction on a connection."""
    try:
        return connection.begin()
    except OperationalError as error:
        if _sqlite_code(error) != sqlite3.SQLITE_READONLY:
            raise
        # Connections that were opened while the file was read-only stay read-only: reconnect.
        connection.invalidate()
        return connection.begin()


def _sqlite_code(error: DBAPIError) -> int:
    """Return the primary result code of SQLite; 0 for an error of PostgreSQL."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
