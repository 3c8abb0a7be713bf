"""The SQL store: one writer at a time, readers beside it, everything durable when a write returns.

It is SQLite in the state folder, or a PostgreSQL database that several service processes share. Both give the same: a
read sees one moment, and writes come one after the other, so that versions have no gaps, `seq` grows in the order in
which rows appear, and what a write has looked up stays true until it commits.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, RootTransaction, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.home import READ_ONLY
from mlmgmt_nb.service.store import databases as engines
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.migrations import migrate

__all__ = ["PASSING", "OutcomeUnknown", "Store", "StoreBusy", "StoreReadOnly"]

_WRITER_KEY = 0x6D6C6D67
"""The advisory lock that a write on PostgreSQL holds: that of this project, in the database in use."""


class OutcomeUnknown(Exception):  # noqa: N818 - not a fault of ours, but what is known
    """The connection broke while a write was being committed: it may have been done, or not."""


class StoreBusy(Exception):  # noqa: N818 - as above
    """Other writes of this process have taken so long that this one was not begun."""


class StoreReadOnly(Exception):  # noqa: N818 - as above
    """The file of the database, or its disk, has come to be only readable; nothing was written."""


PASSING = (DBAPIError, OutcomeUnknown, StoreBusy, StoreReadOnly)
"""What reading and writing raise while the database is not as it should be; whoever can wait tries again."""


class Store:
    """A database.

    `reading()` and `writing()` give a connection in a transaction that commits when the block ends and rolls back when
    it raises. Keep slow work out of them.

    Args:
        database: the file of SQLite, or the URL of a PostgreSQL database.
        may_migrate: whether a database of an earlier version may be brought up to this one.

    Raises:
        LocalServiceError: the database cannot be used, or is of another version.
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
        try:
            self._prepare(may_migrate=may_migrate)
        except DBAPIError as error:
            raise LocalServiceError(
                f"The database {self} cannot be used: {str(error.orig).strip()}",
                fix="Start it, or give another one with --database (a password in PGPASSWORD or ~/.pgpass)."
                if self.is_shared
                else "Free some space or mend the folder; mlmgmt restore makes a new one from a backup.",
            ) from error

    @property
    def is_shared(self) -> bool:
        """Whether several processes may be at work on this database."""
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
                schema.metadata.create_all(db)
            # Another process may have done it since.
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
                fix="Make one with: createdb --encoding UTF8 --template template0 NAME.",
            )

    def _set_aside(self, version: int) -> None:
        """Keep the database as it is before it is migrated."""
        if self._file is None:
            return
        copy = self._file.with_suffix(f".schema-{version}{self._file.suffix}")
        copy.unlink(missing_ok=True)
        with closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("VACUUM INTO ?", [str(copy)])

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._reading.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        # The lock spares the databases' own waiting: SQLite's polls, PostgreSQL's takes a connection.
        if not self._writer.acquire(timeout=engines.BUSY_SECONDS):
            raise StoreBusy
        try:
            with self._writing.connect() as connection, _begun(connection) as transaction:
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
        """Whether SQLite failed since its disk can only be read; it says no more than that it could not write."""
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


def _begun(connection: Connection) -> RootTransaction:
    """Return a transaction on a connection."""
    try:
        return connection.begin()
    except OperationalError as error:
        if _sqlite_code(error) != sqlite3.SQLITE_READONLY:
            raise
        # What was opened while the file could only be read stays so: it is opened anew.
        connection.invalidate()
        return connection.begin()


def _sqlite_code(error: OperationalError) -> int:
    """Its primary result code; 0 for an error of PostgreSQL."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
