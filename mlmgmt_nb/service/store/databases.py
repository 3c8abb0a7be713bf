"""The two kinds of databases of a store, as SQLAlchemy engines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from mlmgmt_nb.errors import LocalServiceError

__all__ = ["BUSY_SECONDS", "postgresql", "postgresql_url", "sqlite"]

BUSY_SECONDS = 5
"""Seconds that a write waits for the write of another program or process: shorter than the timeout of clients."""
_CACHE_KIB = 16 * 1024
"""Maximum size of the page cache of a connection to SQLite: that of a page of 1,000 services and its indexes."""


def sqlite(path: Path) -> Engine:
    """Return an engine for SQLite in WAL mode with full synchronization: commits survive a crash of the machine."""
    options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    # Error messages, and so the log, would contain parameters, which include keys and secrets.
    # The last connection is used next: its cache has the pages that were read.
    engine = create_engine(
        f"sqlite:///{path}", connect_args=options, pool_size=16, pool_use_lifo=True, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # SQLAlchemy begins transactions, not the driver.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def postgresql_url(given: str) -> URL:
    """Parse the URL of a PostgreSQL database.

    Raises:
        LocalServiceError: the URL is not a PostgreSQL URL, or the driver is not installed.
    """
    try:
        url = make_url(given)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"} or not url.database:
        raise LocalServiceError(
            "The value of --database is not the URL of a PostgreSQL database.",
            fix="Use postgresql+psycopg://USER@HOST/DATABASE, or omit it for SQLite in the state folder.",
        )
    if importlib.util.find_spec("psycopg") is None:
        raise LocalServiceError(
            "The PostgreSQL driver is not installed.", fix="Install it: pip install 'mlmgmt-nb[postgresql]'."
        )
    return url.set(drivername="postgresql+psycopg")


def postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=16,
        hide_parameters=True,
        # After a restart of the server, stale connections are detected when they are checked out.
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
        # A process that stalls in a transaction must not block the writes of the others.
        connection.execute("SET idle_in_transaction_session_timeout = '15s'")
        connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        connection.commit()

    return engine
