"""Exports of images: the contents, the build result, the build context, and the image as an OCI archive. Extensions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Row

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import image_not_ready, row_of
from mlmgmt_nb.service.building.built_image import BuiltImage, context_archive
from mlmgmt_nb.service.building.contents import contents_of
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import conflict
from mlmgmt_nb.service.store import schema

__all__ = ["built", "contents", "context", "oci"]

_CHUNK_BYTES = 2**18


def built(call: Call) -> Reply:
    """Return the Docker image: its `reference`, `imageId` on the engine, `digest` in the registry, and `base`.

    409 for an image of compute `local`, which is not a Docker image.
    """
    return Reply(200, _built(_context(call)))


def contents(call: Call) -> Reply:
    """Return the contents of an image, without its models: `driver`, `schema`, `files`, `packages`, `python`, `base`.

    A file has its `path`, `size`, `sha256` and, if it is small UTF-8 text, its `text`. `packages` has the locked
    versions by name, or is null without a lock. 409 until the image is built.
    """
    row = _built_row(call)
    try:
        return Reply(200, contents_of(_folder(call, row), row.interpreter))
    except BuildError as error:
        raise conflict(error.code, error.message) from error


def context(call: Call) -> Reply:
    """Return the build context of an image as a tar archive. 409 until the image is built."""
    folder = _context(call)
    return _archive(call, lambda target, _: context_archive(folder, target))


def oci(call: Call) -> Reply:
    """Return the image as an OCI archive, which `docker load` also reads. 409 if it is not a Docker image."""
    image = _built(_context(call))
    images, log = call.backend.images, call.backend.build_log(call.id)

    def write(target: BinaryIO, folder: Path) -> None:
        images.export(image, target, folder, log)

    try:
        return _archive(call, write)
    except BuildError as error:
        raise conflict(error.code, error.message) from error


def _context(call: Call) -> Path:
    return _folder(call, _built_row(call))


def _built_row(call: Call) -> Row[Any]:
    with call.backend.store.reading() as db:
        row = row_of(db, call, schema.images)
    if row.state != "Succeeded":
        raise image_not_ready(row.state)
    if row.collected_at is not None:
        raise conflict(
            "ImageCollected",
            "The files of this image were removed by mlmgmt gc, because nothing used it; "
            "create a new image from its manifest.",
        )
    return row


def _folder(call: Call, row: Row[Any]) -> Path:
    return call.backend.home.images / str(row.id)


def _built(folder: Path) -> BuiltImage:
    try:
        image = BuiltImage.of(folder)
    except BuildError as error:
        raise conflict(error.code, error.message) from error
    if image is None:
        raise conflict(
            "NoDockerImage",
            "This image was built for compute local: it is a folder, not a Docker image. Export its build context "
            "(--context) and run `docker build` on it, or create the image for compute docker.",
        )
    return image


def _archive(call: Call, write: Callable[[BinaryIO, Path], None]) -> Reply:
    """Stream an archive that is first written to disk."""
    home = call.backend.home.exports
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        target = tempfile.TemporaryFile(dir=home)  # noqa: SIM115 - closed when all of it has been sent
        write(target, Path(folder))
    length = target.tell()
    target.seek(0)
    return Reply(200, _chunks(target), {"content-length": str(length)}, "application/x-tar")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
