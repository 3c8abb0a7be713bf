"""The contents of an image, for comparisons of images. An extension of the embedded service."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import Wire

__all__ = ["TEXT_BYTES", "ContentFile", "ImageContents"]

TEXT_BYTES = 256 * 2**10
"""Maximum size of a file whose text is compared."""


class ContentFile(Wire, frozen=True, kw_only=True):
    """A file beside the driver.

    Attributes:
        path: its path in the working directory of the driver.
        size: its size in bytes.
        sha256: digest of its content.
        text: its content; None if it is large or is not UTF-8 text.
    """

    path: str
    size: int
    sha256: str
    text: str | None = None

    @classmethod
    def of(cls, name: str, path: Path, most: int = TEXT_BYTES) -> ContentFile:
        """Return the description of a file, with its text if it has at most `most` bytes. Stream larger files."""
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path=name, size=size, sha256=digest, text=_text(path) if size <= most else None)


class ImageContents(Wire, frozen=True, kw_only=True):
    """The driver, files, packages and Python of an image, without its models.

    Attributes:
        driver: path of the driver.
        schema: path of its schema file, if any.
        files: all files.
        packages: versions of the locked packages, by name; None if the image has no lock.
        python: version of its Python, if the image runs on this machine.
        base: base image of a Docker image.
    """

    driver: str
    schema: str | None = None
    files: list[ContentFile] = []
    packages: dict[str, str] | None = None
    python: str | None = None
    base: str | None = None


resolve(ImageContents)


def _text(path: Path) -> str | None:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
