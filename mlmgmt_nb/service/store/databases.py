"""The two databases that a store can be in, as SQLAlchemy engines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from mlmgmt_nb.errors import LocalServiceError

__all__ = ["BUSY_SECONDS", "postgresql", "postgresql_url", "sqlite"]

BUSY_SECONDS = 5
"""How long a write waits for another program's, or another process's: shorter than clients wait for an answer."""


def sqlite(path: Path) -> Engine:
    """SQLite in WAL mode with full synchronisation: what was committed survives a crash, also of the machine."""
    options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(f"sqlite:///{path}", connect_args=options, pool_size=16)

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


def postgresql_url(given: str) -> URL:
    """Return the URL of a PostgreSQL database.

    Raises:
        LocalServiceError: it is the URL of something else, or the driver is not installed.
    """
    try:
        url = make_url(given)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"} or not url.database:
        raise LocalServiceError(
            "The database is not the URL of a PostgreSQL database.",
            fix="One is postgresql+psycopg://USER@HOST/DATABASE; without any, SQLite in the state folder is used.",
        )
    if importlib.util.find_spec("psycopg") is None:
        raise LocalServiceError(
            "The driver of PostgreSQL is not installed.", fix="Install it: pip install 'mlmgmt-nb[postgresql]'."
        )
    return url.set(drivername="postgresql+psycopg")


def postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=16,
        # After a restart of the server, the connections of before are found out when they are taken.
        pool_pre_ping=True,
        connect_args={
            "client_encoding": "utf8",
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "tcp_user_timeout": 30_000,
            "application_name": "mlmgmt",
        },
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # A process that stands still in the middle of a write must not keep the others from theirs.
        connection.execute("SET idle_in_transaction_session_timeout = '15s'")
        connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        connection.commit()

    return engine
