"""The contents of an image, for comparisons of images. An extension of the embedded service."""

from __future__ import annotations

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import Wire

__all__ = ["ContentFile", "ImageContents"]


class ContentFile(Wire, frozen=True, kw_only=True):
    """A file beside the driver.

    Attributes:
        path: its path in the working directory of the driver.
        size: its bytes.
        sha256: digest of its content.
        text: its content, unless it is large or is not UTF-8 text.
    """

    path: str
    size: int
    sha256: str
    text: str | None = None


class ImageContents(Wire, frozen=True, kw_only=True):
    """The driver, files, packages and Python of an image, without its models.

    Attributes:
        driver: path of the driver.
        schema: path of its schema file, if any.
        files: all files.
        packages: versions of the locked packages, by name; None if the image has no lock.
        python: version of its Python, if it runs on this machine.
        base: base image of a Docker image.
    """

    driver: str
    schema: str | None = None
    files: list[ContentFile] = []
    packages: dict[str, str] | None = None
    python: str | None = None
    base: str | None = None


resolve(ImageContents)
