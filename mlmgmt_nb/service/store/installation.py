"""Which database belongs to which state folder: neither is of use without the other.

The folder has the artifacts, images, environments and logs that rows of the database speak of. Both carry the same id;
a folder whose database is not the SQLite file in it also has its URL (without the password), so that it need not be
given again.

A folder may be moved, which changes nothing but paths, or copied. A copy begins a life of its own beside the original:
it lets go of what is the original's, its processes, its containers, and the ports that it has taken.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.home import Home, damaged, write_atomically, write_if_new
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.databases import postgresql_url
from mlmgmt_nb.service.store.store import Store

__all__ = ["bind", "check_database", "database_of"]

log = logging.getLogger(__name__)


def database_of(home: Path, given: str | None) -> str | None:
    """Return the URL of the database of a state folder, or None for the SQLite file in it.

    Args:
        given: the URL that the user gives, if any.

    Raises:
        LocalServiceError: it is no such URL, or the folder has its data in SQLite.
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
            fix="Take it along: mlmgmt backup FILE, then mlmgmt restore FILE --home FOLDER --database URL.",
        )
    return url.render_as_string(hide_password=False)


def _check_url(path: Path, known: str) -> None:
    try:
        postgresql_url(known)
    except LocalServiceError as error:
        raise LocalServiceError(
            f"{path} names the database of the folder: {error.message}",
            fix="Write its URL (without the password) into that file, or give it with --database.",
        ) from error


def check_database(home: Home, database: str | None) -> None:
    """Check that the SQLite database is where it should be, before an empty one is made in its place.

    Raises:
        LocalServiceError: the folder has the files of an account, and no database.
    """
    try:
        is_there = database is not None or home.database.stat().st_size > 0
    except FileNotFoundError:
        is_there = False
    if not is_there and _has_files(home):
        raise _lost(home, f"The database {home.database} is missing")


def _has_files(home: Home) -> bool:
    """Whether a folder has what only a database can explain."""
    folders = (home.images, home.artifacts)
    found = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    # The port of a service that came as far as to listen.
    return (home.path / "port").exists() or any(path.name not in {"partial", "damaged"} for path in found)


def _lost(home: Home, problem: str) -> LocalServiceError:
    return LocalServiceError(
        f"{problem}, and the folder has the files of an account.",
        fix=f"Put it back, or restore a backup into another folder (mlmgmt restore FILE --home FOLDER); "
        f"mlmgmt serve --new --home {home.path} begins a new account beside these files.",
    )


def bind(home: Home, store: Store, is_free: Callable[[int], bool], *, is_new: bool = False) -> None:
    """Ties a database and an open folder together at their first start, and checks at later ones that they are.

    Args:
        is_free: whether a port can be had on this machine.
        is_new: whether an empty database is meant, although the folder has files of an account.

    Raises:
        LocalServiceError: the database is that of another folder, or has been lost.
    """
    id_file = home.path / "installation"
    mine = _read(id_file) if store.is_shared else _read_or_none(id_file)
    with store.writing() as db:
        row = db.execute(select(schema.installation)).one_or_none()
        if row is None:
            if store.is_shared and mine is not None and _read(home.path / "database") is not None:
                raise _foreign(home, store, "is a new one, and the folder has another already")
            if store.is_shared and not is_new and _has_files(home):
                raise _lost(home, f"The database {store} is empty")
            # A file without a row is of a start that got no further.
            mine = mine or str(uuid.uuid4())
            write_atomically(id_file, mine.encode())
            db.execute(insert(schema.installation).values(id=mine, path=str(home.path)))
            _moved(db, _oldest_path(db), home.path)
        elif store.is_shared and row.id != mine:
            raise _foreign(home, store, f"belongs to the state folder that was at {row.path}")
        else:
            # A file of SQLite that is in the folder is the folder's, wherever it came from.
            mine = _begin_anew(db, home, store, row, is_free) if _is_copy(row, home) else row.id
            write_if_new(id_file, mine.encode())
            _moved(db, row.path, home.path)
    if store.is_shared:
        write_if_new(home.path / "database", _url(store).encode())


def _url(store: Store) -> str:
    return store.engine.url.set(password=None).render_as_string()


def _is_copy(row: Row[Any], home: Home) -> bool:
    """Whether the folder that the database was in last is another one, and is still there."""
    original = Path(row.path)
    try:
        return _read_or_none(original / "installation") == row.id and not original.samefile(home.path)
    except OSError:  # there is none, or none that we may look at
        return False


def _begin_anew(db: Connection, home: Home, store: Store, row: Row[Any], is_free: Callable[[int], bool]) -> str:
    """Lets go of what is the original's; gives the id of the copy.

    Raises:
        LocalServiceError: it would have the original's database, too.
    """
    if store.is_shared and _read(Path(row.path) / "database") == _url(store):
        raise _foreign(home, store, f"belongs to the state folder at {row.path}, of which this one is a copy")
    services = schema.services
    for service in db.execute(select(services.c.id, services.c.name, services.c.port)).all():
        if service.port is not None and not is_free(service.port):
            log.warning("port %s of service %r is taken: this copy chooses another", service.port, service.name)
            db.execute(update(services).where(services.c.id == service.id).values(port=None))
    if store.is_shared:  # restored into a database of its own, without what is below
        return str(row.id)
    for table in (schema.processes, schema.replicas):
        db.execute(delete(table))
    home.forget_identity()
    mine = str(uuid.uuid4())
    db.execute(update(schema.installation).values(id=mine))
    return mine


def _foreign(home: Home, store: Store, why: str) -> LocalServiceError:
    return LocalServiceError(
        f"The database {store} {why}; this folder is {home.path}.",
        fix="Processes that share a database share its state folder: give that one with --home. For one of its own: "
        "mlmgmt backup, then mlmgmt restore.",
    )


def _moved(db: Connection, before: str | None, now: Path) -> None:
    """Says where images and environments are now, when the folder was moved or copied."""
    if before is None or before == str(now):
        return
    log.info("the state folder was at %s before; it is at %s now", before, now)
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
    """Where the folder was, for a database that does not say it: versions before 2 did not."""
    images = schema.images
    row = db.execute(
        select(images.c.id, images.c.location).where(images.c.location.like("file://%")).limit(1)
    ).one_or_none()
    if row is None:
        return None
    path = unquote(urlsplit(row.location).path)
    return path.removesuffix(f"/images/{row.id}")


def _read(path: Path) -> str | None:
    """Return the line in a file, or None if there is none.

    Raises:
        LocalServiceError: the file has something else in it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    text = content.strip().decode(errors="replace")
    if not text.isprintable() or "\ufffd" in text:
        raise damaged(path, "Restore a backup into another folder: mlmgmt restore FILE --home FOLDER.")
    return text or None


def _read_or_none(path: Path) -> str | None:
    """Return the same for what the database has, too: garbage is as good as nothing."""
    try:
        return _read(path)
    except LocalServiceError as error:
        log.warning("%s It is written again.", error.message)
        return None
