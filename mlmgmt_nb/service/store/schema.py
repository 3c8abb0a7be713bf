"""The tables. Lookup keys are columns; the rest of a resource is the JSON of the contract.

Lists descend from the highest `seq`, and new rows have higher numbers: a page token is a `seq`, so pages stay correct
while rows are added.

When you change a table, raise VERSION and add the step from the previous version to `migrations.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.contract.extensions import ChangeRecord, ServiceCreate
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.traffic import Canary, Mirror

__all__ = [
    "VERSION",
    "compute_aliases",
    "create",
    "deployments",
    "images",
    "installation",
    "manifest_models",
    "manifests",
    "metadata",
    "model_tags",
    "models",
    "operations",
    "processes",
    "replicas",
    "schema_version",
    "services",
]

VERSION = 8
"""Version of this schema; earlier databases are migrated (`migrations.py`), later ones are refused."""


class StructText(TypeDecorator[Any]):
    """A value of a contract type, stored as its JSON."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def result_processor(self, _dialect: Dialect, _column_type: object) -> Callable[[str | None], Any]:
        # This replaces `process_result_value`, which SQLAlchemy wraps: lists have thousands of values.
        decode = msgspec.json.Decoder(self.kind).decode
        return lambda value: None if value is None else decode(value)


class StoredService(ServiceCreate, frozen=True, kw_only=True):
    """The spec of a deployment, without validation: the request was validated, and lists have thousands of specs."""

    name: str
    image_id: str

    def __post_init__(self) -> None:
        pass


class Traffic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The traffic of a candidate: a share of the requests of its service (canary), or copies of them (mirror)."""

    canary: Canary | None = None
    mirror: Mirror | None = None

    @property
    def is_active(self) -> bool:
        """Return whether the candidate gets requests or copies."""
        return any(one is not None and one.is_active for one in (self.canary, self.mirror))

    @property
    def has_results(self) -> bool:
        """Return whether further results of requests or copies may follow."""
        return self.is_active or (self.mirror is not None and self.mirror.has_results)


resolve(StoredService, Traffic)


class UtcTime(TypeDecorator[dt.datetime]):
    """A time, stored as UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, _dialect: Dialect) -> dt.datetime | None:
        return None if value is None else value.astimezone(dt.UTC).replace(tzinfo=None)

    def result_processor(self, dialect: Dialect, _column_type: object) -> Callable[[Any], dt.datetime | None]:
        if dialect.name == "sqlite":  # SQLite stores text; `replace` takes five times as long
            parse = dt.datetime.fromisoformat
            return lambda value: None if value is None else parse(value + "+00:00")
        return lambda value: None if value is None else value.replace(tzinfo=dt.UTC)


def _partial_index(sqlite: str, postgresql: str) -> dict[str, Any]:
    """Return the condition of a partial index, in both dialects.

    `create` adds the condition for PostgreSQL, since as an argument it would import that dialect, also for SQLite.
    """
    return {"sqlite_where": text(sqlite), "info": {"postgresql_where": text(postgresql)}}


metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

# One row: the state folder of this database. `id` is also in the folder; `path` is the last path of the folder.
installation = Table(
    "installation",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("path", Text, nullable=False),
)

# The service processes on this database: one, or several on PostgreSQL. `place` is the place of the process in the
# state folder. A process increments `beats` while it is alive. The leader runs the replicas of all services.
# `started` distinguishes a process from a later one with the same pid.
processes = Table(
    "processes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("machine", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", Text, nullable=False),
    Column("beats", Integer, nullable=False, default=0),
    Column("leads", Boolean, nullable=False, default=False),
    Index("processes_one_leader", "leads", unique=True, **_partial_index("leads", "leads")),
)


def _resource(name: str, *columns: Any) -> Table:
    """Return a table of resources of an account."""
    return Table(
        name,
        metadata,
        Column("seq", Integer, primary_key=True),
        Column("id", String(36), nullable=False, unique=True),
        Column("account", Text, nullable=False),
        *columns,
        Index(f"{name}_by_account", "account", "seq"),
    )


def _versioned(name: str, *columns: Any) -> Table:
    return _resource(
        name,
        Column("name", Text, nullable=False),
        Column("version", Integer, nullable=False),
        *columns,
        # The time at which it was withdrawn because the deployment that made it failed; lists omit it.
        Column("withdrawn_at", UtcTime),
        # The time at which it was archived; lists can omit it.
        Column("archived_at", UtcTime),
        UniqueConstraint("account", "name", "version"),
        Index(f"{name}_by_name", "account", "name", "seq"),
        Index(f"{name}_archived", "account", "seq", **_partial_index(*["archived_at IS NOT NULL"] * 2)),
    )


# Models and manifests are immutable: `doc` is the response, byte for byte.
models = _versioned("models", Column("doc", LargeBinary, nullable=False))

model_tags = Table(
    "model_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("model_seq", Integer, ForeignKey("models.seq"), primary_key=True),
)

manifests = _versioned("manifests", Column("doc", LargeBinary, nullable=False))

manifest_models = Table(
    "manifest_models",
    metadata,
    Column("manifest_id", String(36), ForeignKey("manifests.id"), primary_key=True),
    Column("model_id", String(36), ForeignKey("models.id"), primary_key=True),
    Column("position", Integer, nullable=False),
    Index("manifest_models_by_model", "model_id"),
)

# state: NotStarted -> Running -> Succeeded | Failed | Cancelled, always the same as that of the image's operation.
images = _versioned(
    "images",
    Column("manifest_id", String(36), ForeignKey("manifests.id"), nullable=False, index=True),
    Column("compute_id", Text, nullable=False),
    # The id in the request, if it differs: an alias, or a resource id of 2017.
    Column("compute_given", Text),
    Column("description", Text),
    Column("state", Text, nullable=False),
    Column("error", StructText(ErrorResponse)),
    Column("location", Text),
    # The Python that runs its driver on local compute.
    Column("interpreter", Text),
    Column("created_at", UtcTime, nullable=False),
    # The time at which its files were removed because nothing used them; it can no longer be deployed.
    Column("collected_at", UtcTime),
)

# A service serves `deployment_id`. While an operation changes it, `target_id` is the deployment to serve next (at
# creation both are the same), and `state` is NotStarted or Running; no second operation can begin in that time.
# `deleting` stays set until all replicas have ended; then the row is removed.
# A candidate is a row with `candidate_of`, the id of its service, and a name that begins with the name of its service;
# lists omit it. It is removed at `expires_at`. `traffic` is its canary and its mirror. The target takes over the
# replicas of `adopts_id`, an identical deployment.
services = _resource(
    "services",
    Column("name", Text, nullable=False),
    Column("compute_id", Text, nullable=False),
    Column("compute_given", Text),
    Column("state", Text, nullable=False),
    Column("error", StructText(ErrorResponse)),
    Column("deployment_id", String(36), nullable=False),
    Column("target_id", String(36)),
    Column("deleting", Boolean, nullable=False, default=False),
    # The port in its URL; chosen at the first start, then kept.
    Column("port", Integer, unique=True),
    # The last decision of the autoscaler.
    Column("scale", Integer),
    Column("primary_key", Text, nullable=False),
    Column("secondary_key", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("candidate_of", String(36), index=True),
    Column("expires_at", UtcTime),
    Column("traffic", StructText(Traffic)),
    Column("adopts_id", String(36)),
    Index("services_by_compute", "account", "compute_id", "seq"),
    Index("services_by_compute_given", "account", "compute_given", "seq"),
    # A deleted service releases its name immediately, although its last requests may still be in progress.
    Index("services_by_name", "account", "name", unique=True, **_partial_index("deleting = 0", "NOT deleting")),
)

# status: Deploying -> Active -> Expired, or Deploying -> Failed | Cancelled. `spec` is the request, merged with
# the settings that were kept, without secrets. `secrets` are removed when the deployment ends.
deployments = _resource(
    "deployments",
    Column("service_id", String(36), nullable=False, index=True),
    Column("service_name", Text, nullable=False),
    Column("image_id", String(36), ForeignKey("images.id"), nullable=False, index=True),
    Column("spec", StructText(StoredService), nullable=False),
    Column("secrets", StructText(dict[str, str])),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expired_at", UtcTime),
    # The author, the kind and the reason of the change; NULL for deployments of earlier versions.
    Column("change", StructText(ChangeRecord)),
)

# state: NotStarted -> Running -> Succeeded | Failed | Cancelled. A worker claims a row by moving it to Running, with
# the id of its process; rows that a dead process left Running are claimed again, a bounded number of `attempts`.
operations = _resource(
    "operations",
    Column("kind", Text, nullable=False),
    Column("resource_id", String(36), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("error", StructText(ErrorResponse)),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", UtcTime, nullable=False),
    Column("end_time", UtcTime, index=True),
    # The process that works on the operation.
    Column("claimed_by", String(36)),
    Column("warning", Text),
    # Ids of versions that are withdrawn if the operation fails, in the order of their creation.
    Column("made_versions", StructText(list[str])),
    Index("operations_open", "kind", "state", "seq"),
    # Few operations have a warning.
    Index("operations_with_warning", "resource_id", "seq", **_partial_index(*["warning IS NOT NULL"] * 2)),
)

# Aliases of computes in an account, such as the names of clusters in resource ids of 2017.
compute_aliases = Table(
    "compute_aliases",
    metadata,
    Column("account", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("compute_id", Text, nullable=False),
)

# Processes of replicas, so that the next service can end those that outlived a crash. `started` as above.
replicas = Table(
    "replicas",
    metadata,
    Column("pid", Integer, primary_key=True, autoincrement=False),
    Column("started", Text, nullable=False),
    Column("service_id", String(36), nullable=False),
)


def create(db: Connection) -> None:
    """Create all tables that do not exist, and their indexes.

    SQLite prefers the newest of indexes that fit equally well, so partial indexes are created last. SQLAlchemy itself
    does not define an order.
    """
    for table in metadata.sorted_tables:
        db.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=_order_of):
            if db.dialect.name == "postgresql":
                index.dialect_kwargs.update(index.info)
            db.execute(CreateIndex(index, if_not_exists=True))


def _order_of(index: Index) -> tuple[bool, str]:
    return index.dialect_options["sqlite"]["where"] is not None, str(index.name)
