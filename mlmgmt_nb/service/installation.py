"""Which database belongs to which state folder: neither is of use without the other.

The folder has the artifacts, images, environments and logs that rows of the database speak of. Both carry the same id;
a folder whose database is not the SQLite file in it also has its URL (without the password), so that it need not be
given again.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, func, insert, select, update

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service import schema
from mlmgmt_nb.service.engines import postgresql_url
from mlmgmt_nb.service.home import Home, write_atomically
from mlmgmt_nb.service.store import Store

__all__ = ["bind", "database_of"]

log = logging.getLogger(__name__)


def database_of(home: Path, given: str | None) -> str | None:
    """The URL of the database of a state folder, or None for the SQLite file in it.

    Args:
        given: the URL that the user gives, if any.

    Raises:
        LocalServiceError: it is no such URL, or the folder has its data in SQLite.
    """
    known = _read(home / "database")
    if given is None:
        return known
    url = postgresql_url(given)
    if known is None and (home / "mlmgmt.db").exists():
        raise LocalServiceError(
            f"The state folder {home} has its data in SQLite, and --database names another database.",
            fix="Take it along: mlmgmt backup FILE, then mlmgmt restore FILE --home FOLDER --database URL.",
        )
    return url.render_as_string(hide_password=False)


def bind(home: Home, store: Store) -> None:
    """Ties a database and an open folder together at their first start, and checks at later ones that they are.

    Raises:
        LocalServiceError: the database is that of another folder.
    """
    id_file = home.path / "installation"
    mine = _read(id_file)
    with store.writing() as db:
        row = db.execute(select(schema.installation)).one_or_none()
        if row is None:
            if store.is_shared and mine is not None and _read(home.path / "database") is not None:
                raise _foreign(home, store, "is a new one, and the folder has another already")
            # A file without a row is of a start that got no further.
            mine = mine or str(uuid.uuid4())
            write_atomically(id_file, mine.encode())
            db.execute(insert(schema.installation).values(id=mine, path=str(home.path)))
            _moved(db, _oldest_path(db), home.path)
        elif store.is_shared and row.id != mine:
            raise _foreign(home, store, f"belongs to the state folder that was at {row.path}")
        else:
            # A file of SQLite that is in the folder is the folder's, wherever it came from.
            write_atomically(id_file, row.id.encode())
            _moved(db, row.path, home.path)
    if store.is_shared:
        url = store.engine.url.set(password=None)
        write_atomically(home.path / "database", url.render_as_string().encode())


def _foreign(home: Home, store: Store, why: str) -> LocalServiceError:
    return LocalServiceError(
        f"The database {store} {why}; this folder is {home.path}.",
        fix="Processes that share a database share its state folder: give that one with --home.",
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
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
