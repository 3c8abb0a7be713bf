"""The SQL store: one writer at a time, readers beside it, everything durable when a write returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service import schema

__all__ = ["Store"]


class Store:
    """The database of a state folder.

    `reading()` and `writing()` give a connection in a transaction that commits when the block ends and rolls back when
    it raises. Keep slow work out of them. SQLite runs in WAL mode with full synchronisation: what was committed
    survives a crash of the process and of the machine.
    """

    def __init__(self, path: Path) -> None:
        self._engine = _sqlite(path)
        self._immediate = self._engine.execution_options(immediate=True)
        self._writer = threading.Lock()
        self._prepare()

    def _prepare(self) -> None:
        with self.writing() as db:
            schema.metadata.create_all(db)
            version = db.scalar(select(schema.schema_version.c.version))
            if version is None:
                db.execute(insert(schema.schema_version).values(version=schema.VERSION))
            elif version != schema.VERSION:
                raise LocalServiceError(
                    f"The state folder is of another version of mlmgmt-nb (schema {version}, here {schema.VERSION}).",
                    fix="Use the newer version of mlmgmt-nb, or another folder with --home.",
                )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        # The lock spares SQLite's own waiting, which polls.
        with self._writer, self._immediate.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30, "check_same_thread": False}, pool_size=16)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # Transactions begin where SQLAlchemy says so, not where the driver guesses.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
