"""Verify that a state folder has everything that its database refers to: the database itself, artifacts, and images.

`find` reads every byte that has a digest. `missing_files` only checks that everything exists; a service calls it each
time it starts. Both change nothing and can run while services run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.exc import DatabaseError

from mlmgmt_nb.contract import Asset, Manifest, Model
from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.fetch import file_name
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.compute_ids import DOCKER
from mlmgmt_nb.service.docker_engine import Engine, EngineError
from mlmgmt_nb.service.files.artifacts import digest_in
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.installation import linked_id
from mlmgmt_nb.service.store.store import Store

__all__ = ["CheckResult", "Damage", "find", "missing_files"]

_APPLICATION, _MODELS = "mlmgmt-app.json", "model_config_map.json"
_AGAIN = "Register or upload the same file again."
_BUILD_AGAIN = (
    "Create the image again, and update the services that run it; `mlmgmt gc --delete` removes this one when no "
    "service can return to it."
)


class Damage(msgspec.Struct, frozen=True, rename="camel"):
    """Something that is missing or damaged.

    Attributes:
        kind: `database`, `artifact` or `image`.
        name: name of the item, or of the resource that needs it.
        problem: description of the problem.
        path: its location.
        fix: the fix, as an instruction.
    """

    kind: str
    name: str
    problem: str
    path: str
    fix: str


@dataclass(frozen=True)
class CheckResult:
    """The result of a check: the number of checked items, and the damages found."""

    artifacts: int
    images: int
    damages: list[Damage]


@dataclass(frozen=True)
class _Rows:
    """The rows of the database that refer to files."""

    models: list[Model]
    manifests: list[Manifest]
    images: list[Row[Any]]

    def contents(self) -> Iterator[tuple[str, str]]:
        """Yield the digest of each referenced content, and the name of the resource that refers to it."""
        for model in self.models:
            if digest := digest_in(model.url):
                yield digest, f"model {model.name!r} version {model.version}"
        for manifest in self.manifests:
            for asset in manifest.assets:
                if asset.url and (digest := digest_in(asset.url)):
                    yield digest, f"asset {asset.id!r} of manifest {manifest.name!r} version {manifest.version}"
            for name, value in manifest.target_runtime.properties.items():
                if digest := digest_in(value):
                    yield digest, f"{name} of manifest {manifest.name!r} version {manifest.version}"


def find(store: Store, home: Home) -> CheckResult:
    """Check everything, byte by byte."""
    damages = list(_of_database(store, home))
    try:
        rows = _rows(store)
    except (DatabaseError, msgspec.MsgspecError) as error:
        damages.append(_unreadable(store, error))
        return CheckResult(0, 0, damages)
    named = dict(rows.contents())
    for digest, needed_by in named.items():
        damages += _of_artifact(home, digest, needed_by, _has_digest)
    stored = {path.name: path for path in home.artifacts.glob("[0-9a-f][0-9a-f]/*")}
    for digest in stored.keys() - named.keys():
        damages += _of_artifact(home, digest, f"{digest[:12]}... (not referenced)", _has_digest)
    for row in rows.images:
        damages += _of_image(home, row, rows)
    return CheckResult(len(stored.keys() | named.keys()), len(rows.images), damages)


def missing_files(store: Store, home: Home) -> list[Damage]:
    """Check only that all files exist."""
    rows = _rows(store)
    damages: list[Damage] = []
    for digest, needed_by in dict(rows.contents()).items():
        damages += _of_artifact(home, digest, needed_by, lambda *_: True)
    for row in rows.images:
        damages += _parts_of_image(home, row)
    return damages


def _rows(store: Store) -> _Rows:
    images, models, manifests = schema.images, schema.models, schema.manifests
    there = (images.c.state == "Succeeded", images.c.collected_at.is_(None))
    with store.reading() as db:
        return _Rows(
            [msgspec.json.decode(doc, type=Model) for doc in db.scalars(select(models.c.doc))],
            [msgspec.json.decode(doc, type=Manifest) for doc in db.scalars(select(manifests.c.doc))],
            list(db.execute(select(images).where(*there))),
        )


def _of_database(store: Store, home: Home) -> Iterator[Damage]:
    if store.is_shared:  # PostgreSQL checks its own pages
        yield from _link(store, home)
        return
    try:
        with store.reading() as db:
            found = db.exec_driver_sql("PRAGMA integrity_check(5)").scalars().all()
            orphans = db.exec_driver_sql("PRAGMA foreign_key_check").first()
    except DatabaseError as error:
        yield _unreadable(store, error)
        return
    for line in found:
        if line != "ok":
            yield _broken(store, f"is damaged: {line}")
    if orphans is not None:
        yield _broken(store, f"is damaged: a row of {orphans[0]} refers to a missing row of {orphans[2]}")


def _link(store: Store, home: Home) -> Iterator[Damage]:
    """Check that the database has the row that links it to the folder, and that both have the same id."""
    table = schema.installation
    try:
        with store.reading() as db:
            row = db.execute(select(table)).one_or_none()
    except DatabaseError as error:
        yield _unreadable(store, error)
        return
    if row is None:
        yield _broken(store, f"lacks the row of its table {table.name!r} that links it to this folder")
    elif linked_id(home) != row.id:
        yield _broken(store, f"belongs to the state folder that was at {row.path}")


def _unreadable(store: Store, error: Exception) -> Damage:
    return _broken(store, f"cannot be read: {getattr(error, 'orig', error)}")


def _broken(store: Store, problem: str) -> Damage:
    fix = "Restore a backup to another folder: mlmgmt restore FILE --home FOLDER."
    return Damage("database", "the database", problem, str(store), fix)


def _has_digest(path: Path, digest: str) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _of_artifact(home: Home, digest: str, needed_by: str, is_whole: Callable[[Path, str], bool]) -> Iterator[Damage]:
    path = home.artifacts / digest[:2] / digest
    if not path.exists():
        was_damaged = (home.artifacts / "damaged" / digest).exists()
        yield Damage("artifact", needed_by, "is damaged" if was_damaged else "is missing", str(path), _AGAIN)
        return
    try:
        problem = "" if is_whole(path, digest) else "is damaged: its bytes do not match its SHA-256"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    if problem:
        yield Damage("artifact", needed_by, problem, str(path), _AGAIN)


def _of_image(home: Home, row: Row[Any], rows: _Rows) -> Iterator[Damage]:
    missing = list(_parts_of_image(home, row))
    yield from missing
    if missing:
        return
    folder = home.images / row.id
    for name, digest in _files_of(row, rows):
        path = folder / "app" / name
        if not path.is_file() or not _has_digest(path, digest):
            problem = "is damaged" if path.is_file() else "is missing"
            yield _of(row, f"{name!r} in it {problem}", path)
    for path in (folder / "app" / _APPLICATION, folder / "app" / _MODELS):
        if not _is_object(path):
            yield _of(row, f"{path.name!r} in it is damaged", path)
    if row.compute_id == DOCKER:
        yield from _on_engine(row, folder, home)


def _is_object(path: Path) -> bool:
    """Return whether a file that the build wrote is a JSON object."""
    try:
        return isinstance(msgspec.json.decode(path.read_bytes()), dict)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _parts_of_image(home: Home, row: Row[Any]) -> Iterator[Damage]:
    """Yield missing parts of an image that replicas need to start."""
    folder = home.images / row.id
    for path in (folder, folder / "app" / _APPLICATION, folder / "runtime"):
        if not path.exists():
            yield _of(row, f"{'its folder' if path == folder else path.name} is missing", path)
            return
    if row.interpreter and not Path(row.interpreter).exists():
        yield _of(row, "the Python that runs it is missing", Path(row.interpreter))


def _files_of(row: Row[Any], rows: _Rows) -> Iterator[tuple[str, str]]:
    """Yield the files of an image with a known digest: uploaded files, except archives that were unpacked."""
    manifest = next((one for one in rows.manifests if one.id == row.manifest_id), None)
    if manifest is None:
        return
    for one in _kept_whole(manifest, rows):
        if one.url and (digest := digest_in(one.url)):
            fallback = one.name if isinstance(one, Model) else one.id
            try:
                yield file_name(one.url, fallback or ""), digest
            except BuildError:  # the image cannot have been built from this URL
                continue


def _kept_whole(manifest: Manifest, rows: _Rows) -> Iterator[Model | Asset]:
    """Yield the models and assets that an image has as they were uploaded: archives may have been unpacked."""
    models = [model for model in rows.models if model.id in set(manifest.model_ids or ())]
    files: list[Model | Asset] = [*models, *manifest.assets]
    for one in files:
        is_driver = isinstance(one, Asset) and one.id == manifest.driver_program
        if is_driver or not one.unpack:
            yield one


def _on_engine(row: Row[Any], folder: Path, home: Home) -> Iterator[Damage]:
    """Check that the Docker engine or a registry has the image; without an engine, report nothing."""
    try:
        built = BuiltImage.of(folder)
    except BuildError:
        yield _of(row, "'docker.json' in it is damaged", folder / "docker.json")
        return
    if built is None or built.pull_reference is not None:
        return
    if built.manifest is not None:
        yield from _in_blobs(row, home, built.manifest)
        return
    engine = Engine()
    try:
        with engine.engine_errors():
            there = {image["Id"] for image in engine.api.images(all=True)}
    except EngineError:
        return
    if built.image_id not in there:
        yield _of(row, f"the Docker engine no longer has {built.reference}", Path(built.reference))


def _in_blobs(row: Row[Any], home: Home, manifest: str) -> Iterator[Damage]:
    """Check the contents of an image that was built without an engine."""
    try:
        missing = [path for path in BlobStore(home.blobs).files_of(manifest) if not path.is_file()]
    except BuildError as error:
        yield _of(row, error.message, home.blobs)
        return
    yield from (_of(row, "a layer of it is missing", path) for path in sorted(missing))


def _of(row: Row[Any], problem: str, path: Path) -> Damage:
    return Damage("image", f"image {row.name!r} version {row.version}", problem, str(path), _BUILD_AGAIN)
