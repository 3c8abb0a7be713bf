"""The link between a database and its state folder: neither can be used without the other.

The folder has the artifacts, images, environments and logs that rows of the database refer to. Both store the same id;
a folder with a database other than the SQLite file in it also stores its URL (without the password), so that users need
not repeat it.

A folder can be moved, which only changes paths, or copied. A copy becomes independent of the original: it drops the
processes, containers and occupied ports of the original.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.disk import write_atomically, write_if_new
from mlmgmt_nb.service.files.home import Home, damaged
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.database_file import saved_copy
from mlmgmt_nb.service.store.databases import postgresql_url
from mlmgmt_nb.service.store.store import Store

__all__ = ["bind", "check_database", "database_of", "linked_id"]

log = logging.getLogger(__name__)


def database_of(home: Path, given: str | None) -> str | None:
    """Return the URL of the database of a state folder, or None for the SQLite file in it.

    Args:
        given: the URL from the user, if any.

    Raises:
        LocalServiceError: the URL is not valid, or the folder has its data in SQLite.
    """
    known = _read(home / "database")
    if given is None:
        if known is not None:
            _check_url(home / "database", known)
        return known
    url = postgresql_url(given)
    if known is None and (home / "mlmgmt.db").exists():
        raise LocalServiceError(
            f"The state folder {home} has its data in SQLite, and --database names another database.",
            fix="Move the data: mlmgmt backup FILE, then mlmgmt restore FILE --home FOLDER --database URL.",
        )
    return url.render_as_string(hide_password=False)


def _check_url(path: Path, known: str) -> None:
    try:
        postgresql_url(known)
    except LocalServiceError as error:
        raise LocalServiceError(
            f"{path} names the database of the folder: {error.message}",
            fix="Write its URL (without the password) into that file, or set it with --database.",
        ) from error


def check_database(home: Home, database: str | None) -> None:
    """Check that the SQLite database exists where it should, before an empty database is created in its place.

    Raises:
        LocalServiceError: the folder has the files of an account, but no database.
    """
    if database is not None or not _has_files(home):
        return
    if not home.database.exists():
        raise _database_lost(home, f"The database {home.database} is missing")
    if _is_empty(home.database):
        raise _database_lost(home, f"The database {home.database} is missing (the file there has no tables)")


def _is_empty(database: Path) -> bool:
    """Return whether an SQLite file does not have tables; the store reports other faults when it opens the file."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table'").fetchone() is None
    except sqlite3.Error:
        return False


def _has_files(home: Home) -> bool:
    """Return whether a folder has files that imply a database."""
    folders = (home.images, home.artifacts)
    found = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    # A service that has listened before wrote the file `port`.
    return (home.path / "port").exists() or any(path.name not in {"partial", "damaged"} for path in found)


def _database_lost(home: Home, problem: str) -> LocalServiceError:
    copy = saved_copy(home.database)
    put_back = f"Its content was saved: mlmgmt stop, then mv {copy} {home.database}" if copy.exists() else "Put it back"
    return LocalServiceError(
        f"{problem}, but the folder has the files of an account.",
        fix=f"{put_back}; or restore a backup to another folder (mlmgmt restore FILE --home FOLDER); "
        f"mlmgmt serve --new --home {home.path} starts a new account beside these files.",
    )


def bind(home: Home, store: Store, is_free: Callable[[int], bool], *, is_new: bool = False) -> None:
    """Link a database and an open folder at their first start, and check the link at later ones.

    Args:
        is_free: returns whether a port is free on this machine.
        is_new: whether an empty database is intended, although the folder has files of an account.

    Raises:
        LocalServiceError: the database belongs to another folder, or has been lost.
    """
    id_file = home.path / "installation"
    installation_id = _read(id_file) if store.is_shared else _read_or_none(id_file)
    with store.writing() as db:
        row = db.execute(select(schema.installation)).one_or_none()
        if row is None:
            if store.is_shared:
                _check_unused(home, store, installation_id, is_new=is_new)
            # A file without a row in the database is left over from an interrupted start.
            installation_id = installation_id or str(uuid.uuid4())
            write_atomically(id_file, installation_id.encode())
            db.execute(insert(schema.installation).values(id=installation_id, path=str(home.path)))
            _moved(db, _oldest_path(db), home.path)
        elif store.is_shared and row.id != installation_id:
            raise _foreign(home, store, f"belongs to the state folder that was at {row.path}")
        else:
            # An SQLite file in the folder belongs to the folder, regardless of its origin.
            installation_id = _detach_copy(db, home, store, row, is_free) if _is_copy(row, home) else row.id
            write_if_new(id_file, installation_id.encode())
            _moved(db, row.path, home.path)
    if store.is_shared:
        write_if_new(home.path / "database", _url(store).encode())


def _check_unused(home: Home, store: Store, installation_id: str | None, *, is_new: bool) -> None:
    """Refuse to link an empty database to a folder that has been in use with another one.

    Raises:
        LocalServiceError: the folder has another database, or files of an account.
    """
    if installation_id is not None and _read(home.path / "database") is not None:
        raise _foreign(home, store, "is new, but the folder already has another one")
    if not is_new and _has_files(home):
        raise _database_lost(home, f"The database {store} is empty")


def linked_id(home: Home) -> str | None:
    """Return the id that a folder shares with its database; None if its file is missing or not valid."""
    try:
        return _read(home.path / "installation")
    except LocalServiceError:
        return None


def _url(store: Store) -> str:
    return store.engine.url.set(password=None).render_as_string()


def _is_copy(row: Row[Any], home: Home) -> bool:
    """Return whether the last folder of the database is another folder, which still exists."""
    original = Path(row.path)
    try:
        return _read_or_none(original / "installation") == row.id and not original.samefile(home.path)
    except OSError:  # it does not exist, or is not readable
        return False


def _detach_copy(db: Connection, home: Home, store: Store, row: Row[Any], is_free: Callable[[int], bool]) -> str:
    """Make a copy independent of the original; return the id of the copy.

    Raises:
        LocalServiceError: the copy would share the database of the original.
    """
    if store.is_shared and _read(Path(row.path) / "database") == _url(store):
        raise _foreign(home, store, f"belongs to the state folder at {row.path}; this folder is a copy of it")
    services = schema.services
    for service in db.execute(select(services.c.id, services.c.name, services.c.port)).all():
        if service.port is not None and not is_free(service.port):
            log.warning("port %s of service %r is taken: this copy uses another port", service.port, service.name)
            db.execute(update(services).where(services.c.id == service.id).values(port=None))
    if store.is_shared:  # a restored database does not have rows in the tables below
        return str(row.id)
    for table in (schema.processes, schema.replicas):
        db.execute(delete(table))
    home.forget_identity()
    installation_id = str(uuid.uuid4())
    db.execute(update(schema.installation).values(id=installation_id))
    return installation_id


def _foreign(home: Home, store: Store, why: str) -> LocalServiceError:
    return LocalServiceError(
        f"The database {store} {why}; this folder is {home.path}.",
        fix="Processes that share a database also share its state folder: set --home to it. For a separate copy: "
        "mlmgmt backup, then mlmgmt restore.",
    )


def _moved(db: Connection, before: str | None, now: Path) -> None:
    """Update the paths of images and environments after the folder was moved or copied."""
    if before is None or before == str(now):
        return
    log.info("the state folder moved from %s to %s", before, now)
    images = schema.images
    for column, old, new in (
        (images.c.location, Path(before).as_uri(), now.as_uri()),
        (images.c.interpreter, before, str(now)),
    ):
        moved = func.substr(column, len(old) + 1)
        is_in_it = func.substr(column, 1, len(old) + 1) == f"{old}/"
        db.execute(update(images).where(is_in_it).values({column: new + moved}))
    db.execute(update(schema.installation).values(path=str(now)))


def _oldest_path(db: Connection) -> str | None:
    """Return the earlier path of the folder for a database that does not store it: one of version 1."""
    images = schema.images
    row = db.execute(
        select(images.c.id, images.c.location).where(images.c.location.like("file://%")).limit(1)
    ).one_or_none()
    if row is None:
        return None
    path = unquote(urlsplit(row.location).path)
    return path.removesuffix(f"/images/{row.id}")


def _read(path: Path) -> str | None:
    """Return the line in a file, or None if the file does not exist.

    Raises:
        LocalServiceError: the file has other content.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    text = content.strip().decode(errors="replace")
    if not text.isprintable() or "\ufffd" in text:
        raise damaged(path, "Restore a backup to another folder: mlmgmt restore FILE --home FOLDER.")
    return text or None


def _read_or_none(path: Path) -> str | None:
    """Return the line in a file; an invalid file counts as missing. The database has the same content."""
    try:
        return _read(path)
    except LocalServiceError as error:
        log.warning("%s Writing it again.", error.message)
        return None
