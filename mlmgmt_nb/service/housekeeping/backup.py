"""Backups: one file with the contents of a state folder and its database, made while services run.

A backup is a tar archive. Its `mlmgmt.db` has the rows of one moment, always as SQLite, so that it can be restored to
both kinds of databases. Artifacts and images do not change once they exist, so files that are copied afterwards match
these rows. A backup contains the keys of the services and the token: protect it as you protect those.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DatabaseError, DataError

from mlmgmt_nb import __version__
from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract, first_file
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.files.disk import write_atomically
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.housekeeping import check
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.databases import postgresql_url
from mlmgmt_nb.service.store.store import Store

__all__ = ["backup", "restore"]

log = logging.getLogger(__name__)

_FORMAT = 1
_ABOUT = "backup.json"
_FILES = ("token", "installation", "port", "artifacts", "images", "environments", "oci", "logs", "data")
_NOT_COPIED = frozenset({"schema_version", "processes", "replicas"})
"""Tables that are not copied: they describe running processes, or the schema."""
_ROWS = 1000
_ABOUT_BYTES = 2**16


class BackupMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """Metadata of a backup."""

    format: int
    version: str
    schema_version: int
    created_at: str


resolve(BackupMetadata)


def backup(store: Store, home: Home, target: Path) -> int:
    """Write a backup; return its size in bytes.

    Args:
        target: the file, compressed if its name ends in `.gz` or `.tgz`.

    Raises:
        LocalServiceError: the backup cannot be written.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        # `maintenance` prevents the removal of files meanwhile.
        with home.maintenance(), tempfile.TemporaryDirectory(dir=target.parent, prefix=".mlmgmt-") as folder:
            database = Path(folder) / "mlmgmt.db"
            _copy_out(store, database)
            compressed = target.suffix in {".gz", ".tgz"}
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                with tarfile.open(fileobj=file, mode="w:gz" if compressed else "w") as tar:
                    _fill(tar, home, database, Path(folder))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
    except OSError as error:
        raise LocalServiceError(
            f"The backup {target} cannot be written: {error.strerror or error}.", fix="Choose another file or disk."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _fill(tar: tarfile.TarFile, home: Home, database: Path, scratch: Path) -> None:
    about = BackupMetadata(_FORMAT, __version__, schema.VERSION, now().isoformat())
    (scratch / _ABOUT).write_bytes(msgspec.json.encode(about))
    tar.add(scratch / _ABOUT, _ABOUT)
    tar.add(database, home.database.name)
    for name in _FILES:
        for path in _files(home.path / name):
            try:
                tar.add(path, str(path.relative_to(home.path)), recursive=False)
            except FileNotFoundError:
                log.info("%s was removed during the backup", path)  # a truncated log, a failed build


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or everything in a folder that belongs in the backup."""
    if path.name.endswith((".partial", ".lock")) or (
        path.name in {"partial", "damaged"} and path.parent.name == "artifacts"
    ):
        return
    if path.is_symlink() or path.is_file():
        yield path
    elif path.is_dir():
        yield path
        for inner in sorted(path.iterdir()):
            yield from _files(inner)


def _copy_out(store: Store, path: Path) -> None:
    copy = Store(path)
    try:
        with store.reading() as source, copy.writing() as target:
            _copy(source, target)
        # A single file, without a WAL file beside it.
        with copy.engine.connect() as db:
            db.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        copy.close()


def _copy(source: Connection, target: Connection) -> None:
    """Copy all rows to an empty target."""
    for table in schema.metadata.sorted_tables:
        if table.name in _NOT_COPIED:
            continue
        found = source.execution_options(yield_per=_ROWS).execute(select(table))
        for rows in found.mappings().partitions(_ROWS):
            target.execute(insert(table), [dict(row) for row in rows])
        if target.dialect.name == "postgresql" and "seq" in table.c:
            sequence = f"pg_get_serial_sequence('{table.name}', 'seq')"
            # The names come from `schema`.
            highest = f"(SELECT max(seq) FROM {table.name})"  # noqa: S608
            target.execute(text(f"SELECT setval({sequence}, {highest}) WHERE {highest} IS NOT NULL"))


def restore(
    source: Path, folder: Path, database: str | None, limits: Callable[[Path], Limits] = Limits.of_disk
) -> list[str]:
    """Create a state folder from a backup, completely or not at all.

    Args:
        folder: a folder that is empty or does not exist.
        database: URL of an empty PostgreSQL database to fill; None for SQLite.
        limits: returns the limits of the archive for the folder that it is extracted to.

    Returns:
        Messages about missing Pythons of images on this machine, and about contents that are damaged in the backup.

    Raises:
        LocalServiceError: the file is not a backup, or the folder or database is not empty.
    """
    if not source.is_file():
        raise LocalServiceError(f"The file {source} does not exist.", fix="Use a file written by mlmgmt backup.")
    scratch = _scratch_for(folder)
    try:
        _extract(source, scratch, limits(scratch))
        store = _opened(source, scratch / "mlmgmt.db")
        try:
            lacking = _missing_interpreters(store, scratch) + _damaged(store, scratch)
            if database is not None:
                _copy_in(store, database)
        finally:
            store.close()
        if database is not None:
            for path in scratch.glob("mlmgmt.*"):
                path.unlink()
            url = postgresql_url(database).set(password=None)
            write_atomically(scratch / "database", url.render_as_string().encode())
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    except OSError as error:
        raise _creation_error(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return lacking


def _scratch_for(folder: Path) -> Path:
    """Create a temporary folder beside the target folder, which is empty or does not exist."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise LocalServiceError(f"The folder {folder} is not empty.", fix="Give a new one with --home.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=folder.parent, prefix=".mlmgmt-"))
    except OSError as error:
        raise _creation_error(folder, error) from error


def _creation_error(folder: Path, error: OSError) -> LocalServiceError:
    return LocalServiceError(
        f"The backup cannot be restored to {folder}: {error.strerror or error}.", fix="Choose another folder."
    )


def _opened(source: Path, database: Path) -> Store:
    """Open the database of a backup, and migrate it to the schema of this version.

    Raises:
        LocalServiceError: the backup does not have a database, or it is damaged.
    """
    try:
        if not database.is_file() or not database.stat().st_size:
            raise _unreadable(source, f"it has no database ({database.name})")
        store = Store(database)
        with store.reading() as db:
            problem = db.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except (LocalServiceError, DatabaseError) as error:
        if isinstance(error.__cause__ or error, DatabaseError):
            raise _unreadable(source, f"the database in it ({database.name}) is damaged") from error
        raise
    if problem != "ok":
        store.close()
        raise _unreadable(source, f"the database in it ({database.name}) is damaged: {problem}")
    return store


def _unreadable(source: Path, problem: str) -> LocalServiceError:
    return LocalServiceError(
        f"{source} cannot be read as a backup: {problem}.", fix="Use an intact file written by mlmgmt backup."
    )


def _extract(source: Path, folder: Path, limits: Limits) -> None:
    try:
        first = first_file(source, _ABOUT_BYTES)
        if first is None or first[0] != _ABOUT:
            raise LocalServiceError(
                f"{source} is not a backup of mlmgmt-nb.", fix="Use a file written by mlmgmt backup."
            )
        about = msgspec.json.decode(first[1], type=BackupMetadata)
        if about.format > _FORMAT or about.schema_version > schema.VERSION:
            raise LocalServiceError(
                f"{source} was made by mlmgmt-nb {about.version}, which is newer.",
                fix="Restore it with that version or a newer one.",
            )
        extract(source, folder, limits, mode_of=_private_mode, may_leave=_is_python)
        (folder / _ABOUT).unlink()
        if foreign := {path.name for path in folder.iterdir()} - {*_FILES, Home(folder).database.name}:
            raise _unreadable(source, f"it has {min(foreign)!r}, which is not part of a backup")
    except ArchiveError as error:
        raise _unreadable(source, f"the archive {error}") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _unreadable(source, f"its {_ABOUT} is damaged: {error}") from error


def _private_mode(mode: int) -> int:
    """Return the mode of a restored file: contents and keys are private to the user."""
    return (mode & 0o700) | 0o400


def _is_python(name: str) -> bool:
    """Return whether this is the link of an environment to its Python, which must lead outside the folder."""
    return re.fullmatch(r"environments/[^/]+/(?:[^/]+/)?bin/python[0-9.]*", name) is not None


def _copy_in(store: Store, database: str) -> None:
    target = Store(database)
    try:
        with store.reading() as source, target.writing() as db:
            if db.execute(select(schema.installation)).first() is not None:
                raise LocalServiceError(f"The database {target} is not empty.", fix="Use an empty database.")
            _copy(source, db)
    except DataError as error:
        raise LocalServiceError(
            f"A value of the backup cannot be stored in PostgreSQL: {error.orig}", fix="Restore it without --database."
        ) from error
    finally:
        target.close()


def _missing_interpreters(store: Store, folder: Path) -> list[str]:
    """Return messages for interpreters of images that are missing here."""
    images, installation = schema.images, schema.installation
    with store.reading() as db:
        before = db.scalar(select(installation.c.path)) or ""
        query = select(images.c.interpreter, images.c.name).where(images.c.interpreter.is_not(None)).distinct()
        rows: list[Any] = list(db.execute(query.where(images.c.collected_at.is_(None))))
    lacking = set()
    for row in rows:
        inside = row.interpreter.startswith(f"{before}/")
        path = folder / row.interpreter[len(before) + 1 :] if inside else Path(row.interpreter)
        if not path.exists():
            lacking.add(
                f"image {row.name!r} needs the Python {row.interpreter}, which is missing on this machine; "
                "create the image again"
            )
    return sorted(lacking)


def _damaged(store: Store, folder: Path) -> list[str]:
    """Return messages for contents that do not match their digests: a tar archive has no checksum of its contents."""
    damages = check.find(store, Home(folder)).damages
    return [f"{one.name} {one.problem}; upload the same file again" for one in damages if one.kind == "artifact"]
