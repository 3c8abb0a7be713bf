"""Migration of the database of an earlier version to the current schema, step by step, in one transaction.

Numbered steps and the row in `schema_version` are sufficient: SQLite and PostgreSQL both roll DDL back, versions are
linear, and a service migrates automatically at its start, which has to be quick. A migration tool would add a second
description of the schema, and its own configuration, to every installation.

Do not change a step after its release. A step has complete statements and must not depend on `schema.py`, which
continues to change. A test migrates a database of each released version and compares it with a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, update

from mlmgmt_nb.service.store import schema

__all__ = ["migrate"]

log = logging.getLogger(__name__)


def _to_2(db: Connection) -> None:
    """Add support for several processes on one database (PostgreSQL), for moved folders, and for `mlmgmt gc`."""
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


def _to_3(db: Connection) -> None:
    """Add secrets of services, aliases of computes, and warnings of operations."""
    for statement in (
        "ALTER TABLE deployments ADD COLUMN secrets TEXT",
        "ALTER TABLE images ADD COLUMN compute_given TEXT",
        "ALTER TABLE services ADD COLUMN compute_given TEXT",
        "ALTER TABLE operations ADD COLUMN warning TEXT",
        "CREATE TABLE compute_aliases (account TEXT NOT NULL, name TEXT NOT NULL, compute_id TEXT NOT NULL, "
        "PRIMARY KEY (account, name))",
    ):
        db.exec_driver_sql(statement)


def _to_4(db: Connection) -> None:
    """Add withdrawn versions."""
    kind = "DATETIME" if db.dialect.name == "sqlite" else "TIMESTAMP"
    for table in ("models", "manifests", "images"):
        db.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN withdrawn_at {kind}")


def _to_5(db: Connection) -> None:
    """Add the versions that are withdrawn if an operation fails, and the records of changes."""
    db.exec_driver_sql("ALTER TABLE operations ADD COLUMN made_versions TEXT")
    db.exec_driver_sql("ALTER TABLE deployments ADD COLUMN change TEXT")


def _to_6(db: Connection) -> None:
    """Add candidates of services, their share of the requests, and the deployment whose replicas a promotion takes."""
    time = "DATETIME" if db.dialect.name == "sqlite" else "TIMESTAMP"
    for column in (
        "candidate_of VARCHAR(36)",
        f"expires_at {time}",
        "traffic TEXT",
        "adopts_id VARCHAR(36)",
    ):
        db.exec_driver_sql(f"ALTER TABLE services ADD COLUMN {column}")
    db.exec_driver_sql("CREATE INDEX ix_services_candidate_of ON services (candidate_of)")


def _to_7(db: Connection) -> None:
    """Add archived versions, and indexes of services by their compute."""
    kind = "DATETIME" if db.dialect.name == "sqlite" else "TIMESTAMP"
    for table in ("models", "manifests", "images"):
        db.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN archived_at {kind}")
        db.exec_driver_sql(f"CREATE INDEX {table}_archived ON {table} (account, seq) WHERE archived_at IS NOT NULL")
    db.exec_driver_sql("CREATE INDEX services_by_compute ON services (account, compute_id, seq)")
    db.exec_driver_sql("CREATE INDEX services_by_compute_given ON services (account, compute_given, seq)")


def _to_8(db: Connection) -> None:
    """Add an index of the operations that have a warning."""
    db.exec_driver_sql(
        "CREATE INDEX operations_with_warning ON operations (resource_id, seq) WHERE warning IS NOT NULL"
    )


_STEPS: Mapping[int, Callable[[Connection], None]] = dict(
    enumerate((_to_2, _to_3, _to_4, _to_5, _to_6, _to_7, _to_8), start=2)
)
"""Steps by the version that they produce."""


def migrate(db: Connection, version: int) -> None:
    """Migrate a database to the current version.

    Args:
        db: a transaction, which commits everything or nothing.
    """
    for step in range(version + 1, schema.VERSION + 1):
        log.info("migrating the database from schema %s to %s", step - 1, step)
        _STEPS[step](db)
    db.execute(update(schema.schema_version).values(version=schema.VERSION))
