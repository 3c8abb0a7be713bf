"""Bringing the database of an earlier version up to the present schema, step by step, in one transaction.

Numbered steps and the row in `schema_version` are all that it takes here: both SQLite and PostgreSQL roll DDL back,
there is one line of versions, and a service migrates by itself when it starts, which has to be quick. A tool for
migrations would bring a second way to describe the schema, and its own configuration, into every installation.

A step is never changed after its release, and says its statements in full: it must not depend on `schema.py`, which
goes on. A test brings a database of each released version up and compares it with a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, update

from mlmgmt_nb.service.store import schema

__all__ = ["migrate"]

log = logging.getLogger(__name__)


def _to_2(db: Connection) -> None:
    """Several processes on one database (which PostgreSQL has from this version on); folders that move; `mlmgmt gc`."""
    for statement in (
        "CREATE TABLE installation (id VARCHAR(36) NOT NULL, path TEXT NOT NULL, PRIMARY KEY (id))",
        "CREATE TABLE processes (id VARCHAR(36) NOT NULL, place INTEGER NOT NULL, machine TEXT NOT NULL, "
        "pid INTEGER NOT NULL, "
        "started TEXT NOT NULL, beats INTEGER NOT NULL, leads BOOLEAN NOT NULL, PRIMARY KEY (id))",
        "CREATE UNIQUE INDEX processes_one_leader ON processes (leads) WHERE leads",
        "ALTER TABLE operations ADD COLUMN claimed_by VARCHAR(36)",
        "CREATE INDEX ix_operations_end_time ON operations (end_time)",
        "ALTER TABLE images ADD COLUMN collected_at DATETIME",
    ):
        db.exec_driver_sql(statement)


_STEPS: Mapping[int, Callable[[Connection], None]] = {2: _to_2}
"""By the version that a step leads to."""


def migrate(db: Connection, version: int) -> None:
    """Brings a database of a version up to the present one.

    Args:
        db: a write, which commits it all or nothing.
    """
    for step in range(version + 1, schema.VERSION + 1):
        log.info("the database goes from schema %s to %s", step - 1, step)
        _STEPS[step](db)
    db.execute(update(schema.schema_version).values(version=schema.VERSION))
