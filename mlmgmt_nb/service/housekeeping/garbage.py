"""Garbage collection of a state folder: find unused data, and remove it on request.

- Images that no service runs or could return to: their files are removed, also from the Docker engine (not from a
  registry), and they can no longer be deployed. The records of builds and deployments are kept.
- Layers of images that were built without a Docker engine, if no image has them.
- Python environments that no image uses, and locks of requirements that no image has.
- Uploaded contents that no model and no manifest refers to, unfinished uploads, and contents set aside because they are
  damaged.
- Leftovers of crashes: incomplete images, logs of deleted resources.

Models and manifests are never garbage, nor is data that services have collected. Recent data is kept: a client may be
about to use it. Garbage collection can run while services run.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import shutil
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from sqlalchemy import Connection, select, update

from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.packages.environments import PINNED
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.docker_engine import Engine, EngineError
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["Garbage", "find", "remove"]

log = logging.getLogger(__name__)

_UPLOAD_GRACE = dt.timedelta(hours=1)
"""Minimum age of unused contents: contents are registered some time after their upload."""
_DIGEST = re.compile(rb"/artifacts/sha256/([0-9a-f]{64})")


class Garbage(msgspec.Struct, frozen=True, rename="camel"):
    """Something unused.

    Attributes:
        kind: `image`, `layer` of images, `environment`, `artifact`, `upload`, `damaged` content, `log` or `leftovers`
            of a crash.
        name: a name for display.
        path: location of its files.
        bytes: size of its files.
        pushed: name of an image in a registry, where it stays.
    """

    kind: str
    name: str
    path: str
    bytes: int
    pushed: str | None = None


def find(store: Store, home: Home, older_than: dt.timedelta) -> list[Garbage]:
    """Return unused items that are older than `older_than`."""
    before = now() - older_than
    with store.reading() as db:
        images = dict(_unused_images(db, before))
        known = {row.id: row for row in db.execute(select(schema.images))}
        services = set(db.scalars(select(schema.services.c.id)))
        kept = {id_: row for id_, row in known.items() if row.collected_at is None and id_ not in images}
        used = {row.interpreter for row in kept.values()}
        building = _builds(db)
        environments = [] if building else [*_unused_environments(home, used, before), *_pins(home, set(kept), before)]
        contents = list(_unused_contents(db, home, before))
    return [
        *(_image(name, home.images / image_id) for image_id, name in images.items()),
        *_leftovers(home, kept.keys() | images.keys(), known, before),
        *(_garbage("environment", path.name, path) for path in environments),
        *contents,
        *(() if building else _unused_layers(home, set(kept), before)),
        *_old_logs(home, "builds", kept, before),
        *_old_logs(home, "services", services, before),
    ]


def _image(name: str, path: Path) -> Garbage:
    try:
        built = BuiltImage.of(path)
    except BuildError:  # reported when the image is removed
        built = None
    return msgspec.structs.replace(_garbage("image", name, path), pushed=built and built.pull_reference)


def remove(store: Store, home: Home, garbage: Iterable[Garbage]) -> list[Garbage]:
    """Remove the given items unless they are in use again; return the removed items."""
    # `maintenance` waits for a backup that copies files.
    with home.maintenance():
        return [item for item in garbage if _remove(store, item)]


def _remove(store: Store, item: Garbage) -> bool:
    path = Path(item.path)
    match item.kind:
        case "image":
            # Requests that deploy the image check this column in a transaction.
            with store.writing() as db:
                if path.name not in dict(_unused_images(db, now())):
                    return False
                _collect(db, path.name, now())
            if not _remove_from_engine(path):
                with store.writing() as db:
                    _collect(db, path.name, None)
                return False
        case "environment":
            return _remove_environment(store, path)
        case "artifact":
            with store.writing() as db:
                if path.name.encode() in _named(db):
                    return False
                path.unlink(missing_ok=True)
            return True
    _delete(path)
    return not path.exists()


def _collect(db: Connection, image_id: str, when: dt.datetime | None) -> None:
    images = schema.images
    db.execute(update(images).where(images.c.id == image_id).values(collected_at=when))


def _remove_from_engine(context: Path) -> bool:
    """Remove an image from the Docker engine. Return False if the engine is unavailable or a container uses it."""
    try:
        built = BuiltImage.of(context)
    except BuildError as error:
        log.warning("an image may stay on the engine: %s", error.message)
        return True
    if built is None:
        return True
    engine = Engine()
    try:
        with engine.engine_errors():
            # The name may belong to another folder by now.
            for image in engine.api.images(built.reference):
                if image["Id"] == built.image_id:
                    engine.api.remove_image(built.reference)
    except EngineError as error:
        if built.manifest is not None:  # built without an engine, so it may never have been on one
            return True
        log.warning("image %s stays on the engine: %s", built.reference, error)
        return False
    return True


def _remove_environment(store: Store, path: Path) -> bool:
    lock = path.with_name(f"{path.name.removesuffix(PINNED)}.lock")
    try:
        with FileLock(lock, timeout=0, mode=0o600), store.reading() as db:
            if _builds(db) or path in {Path(used).parent.parent for used in _interpreters(db)}:
                return False
            _delete(path)
            lock.unlink(missing_ok=True)
    except Timeout:
        return False
    return not path.exists()


# --- usage ------------------------------------------------------------------------------------------------


def _unused_images(db: Connection, before: dt.datetime) -> Iterator[tuple[str, str]]:
    """Yield images that no service runs, is about to run, or could return to."""
    images, deployments, services = schema.images, schema.deployments, schema.services
    used = (
        select(deployments.c.image_id)
        .join(services, services.c.id == deployments.c.service_id)
        .where(deployments.c.status.not_in(["Failed", "Cancelled"]) | services.c.target_id.is_not(None))
    )
    query = select(images.c.id, images.c.name, images.c.version).where(
        images.c.state == "Succeeded",
        images.c.collected_at.is_(None),
        images.c.created_at < before,
        images.c.id.not_in(used),
    )
    for row in db.execute(query):
        yield row.id, f"{row.name} version {row.version}"


def _interpreters(db: Connection) -> list[str]:
    images = schema.images
    query = select(images.c.interpreter).where(images.c.collected_at.is_(None), images.c.interpreter.is_not(None))
    return list(db.scalars(query))


def _builds(db: Connection) -> bool:
    """Return whether any image is being built: it may use an environment that is not recorded yet."""
    operations = schema.operations
    running = select(operations.c.id).where(operations.c.kind == "Image", operations.c.state == "Running")
    return db.execute(running.limit(1)).first() is not None


def _unused_environments(home: Home, interpreters: set[str | None], before: dt.datetime) -> Iterator[Path]:
    used = {Path(interpreter).parent.parent for interpreter in interpreters if interpreter}
    for path in _folders(home.environments):
        complete = path / "complete"
        if path not in used and _is_old(complete if complete.exists() else path, before):
            yield path


def _pins(home: Home, images: set[str], before: dt.datetime) -> Iterator[Path]:
    """Yield locks of requirements that none of these images has."""
    pins = [path for path in sorted(home.environments.glob(f"*{PINNED}")) if _is_old(path, before)]
    # The build context of an image has the lock of its requirements; older contexts have the requirements instead.
    used = {
        _read(home.images / image_id / name)
        for image_id in (images if pins else ())
        for name in (LOCK_FILE, "requirements.txt")
    }
    yield from (path for path in pins if _read(path) not in used)


def _unused_layers(home: Home, images: set[str], before: dt.datetime) -> Iterator[Garbage]:
    """Yield layers of images that were built without an engine, if no remaining image has them."""
    used: set[Path] = set()
    blobs = BlobStore(home.blobs)
    for image_id in images if home.blobs.is_dir() else ():
        try:
            built = BuiltImage.of(home.images / image_id)
            used |= blobs.files_of(built.manifest) if built is not None and built.manifest else set()
        except BuildError as error:
            log.warning("unused layers are kept: %s", error.message)
            return
    for path in home.blobs.glob("[0-9a-f]*"):
        if path not in used and _is_old(path, before):
            yield _garbage("layer", path.name, path)


def _leftovers(home: Home, images: Container[str], known: Container[str], before: dt.datetime) -> Iterator[Garbage]:
    """Yield incomplete images, and what is left of removed ones.

    Args:
        images: the complete images.
        known: all images with a record.
    """
    for path in _folders(home.images):
        if path.name not in images and (path.name in known or _is_old(path, before)):
            yield _garbage("leftovers", path.name, path)


def _old_logs(home: Home, kind: str, living: Container[str], before: dt.datetime) -> Iterator[Garbage]:
    """Yield logs of resources that no longer exist."""
    for path in _folders(home.logs / kind):
        if path.name not in living and _is_old(path, before):
            yield _garbage("log", f"{kind}/{path.name}", path)


def _named(db: Connection) -> set[bytes]:
    """Return the digests of all contents that models and manifests refer to."""
    docs = [doc for table in (schema.models, schema.manifests) for doc in db.scalars(select(table.c.doc))]
    return {digest for doc in docs for digest in _DIGEST.findall(doc)}


def _unused_contents(db: Connection, home: Home, before: dt.datetime) -> Iterator[Garbage]:
    before = min(before, now() - _UPLOAD_GRACE)
    named = _named(db)
    for path in home.artifacts.glob("[0-9a-f][0-9a-f]/*"):
        if path.name.encode() not in named and _is_old(path, before):
            yield _garbage("artifact", path.name, path)
    for folder, kind in (("partial", "upload"), ("damaged", "damaged")):
        for path in (home.artifacts / folder).glob("*"):
            if _is_old(path, before):
                yield _garbage(kind, path.name, path)


# --- files -------------------------------------------------------------------------------------------------------


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("*") if path.is_dir()) if parent.is_dir() else []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_old(path: Path, before: dt.datetime) -> bool:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC) < before
    except FileNotFoundError:
        return False


def _garbage(kind: str, name: str, path: Path) -> Garbage:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return Garbage(kind, name, str(path), sum(_size(file) for file in files))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
