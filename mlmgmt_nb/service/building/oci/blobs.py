"""Contents of images in the state folder, by digest."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.media import Descriptor, Manifest, digest_of

__all__ = ["BlobStore"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 2**20
_DOCUMENT_BYTES = 16 * 2**20
"""Limit for manifests and configurations, which are read as a whole; registries allow 4 MiB."""


class BlobStore:
    """A folder of contents, each in a file that is named by its digest. Processes may share it.

    Args:
        folder: the folder; created when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Return the path for content.

        Raises:
            BuildError: the digest is not a SHA-256 digest.
        """
        if _DIGEST.fullmatch(digest) is None:
            raise BuildError("BadImage", f"{digest!r} is not a digest with sha256.")
        return self.folder / digest.removeprefix("sha256:")

    def has(self, content: Descriptor) -> bool:
        """Return whether content is stored, and mark it as recently used."""
        path = self.path(content.digest)
        try:
            is_whole = path.stat().st_size == content.size
            path.touch()
        except FileNotFoundError:
            return False
        return is_whole

    def read(self, content: Descriptor) -> bytes:
        """Return a document.

        Raises:
            BuildError: the content is too large for a document.
        """
        if content.size > _DOCUMENT_BYTES:
            raise BuildError("BadImage", f"{content.digest} is larger than {_DOCUMENT_BYTES:,} bytes.")
        return self.path(content.digest).read_bytes()

    def add(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store content.

        Raises:
            BuildError: the chunks do not match the digest and size.
        """
        with self.writing() as file:
            digest, size = hashlib.sha256(), 0
            for chunk in chunks:
                size += len(chunk)
                if size > content.size:
                    break
                digest.update(chunk)
                file.write(chunk)
            if (f"sha256:{digest.hexdigest()}", size) != (content.digest, content.size):
                raise BuildError("BadImage", f"The content received for {content.digest} is damaged or incomplete.")
            self.keep(file, content.digest)

    def add_bytes(self, content: bytes, media_type: str) -> Descriptor:
        """Store bytes and return their descriptor."""
        found = Descriptor(media_type, digest_of(content), len(content))
        if not self.has(found):
            self.add(found, [content])
        return found

    @contextlib.contextmanager
    def writing(self) -> Iterator[BinaryIO]:
        """Yield a temporary file in the folder, which is removed unless `keep` renames it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="partial-", delete=False) as file:
            try:
                yield file  # type: ignore[misc] # its wrapper has all methods of a file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, file: BinaryIO, digest: str) -> None:
        """Keep a temporary file under the digest of its content."""
        file.flush()
        Path(file.name).rename(self.path(digest))

    def files_of(self, digest: str) -> set[Path]:
        """Return the files of an image: its manifest, configuration and layers.

        Args:
            digest: digest of the manifest.

        Raises:
            BuildError: the manifest is missing or damaged.
        """
        path = self.path(digest)
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (FileNotFoundError, msgspec.MsgspecError) as error:
            raise BuildError("ImageGone", f"The manifest {digest} of an image is missing or damaged.") from error
        return {path, *(self.path(each.digest) for each in (manifest.config, *manifest.layers))}

    def chunks(self, content: Descriptor) -> Iterator[bytes]:
        """Yield content in chunks."""
        with self.path(content.digest).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
