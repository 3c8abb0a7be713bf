"""Layers of images: reproducible archives of files, and a cache of layers by their inputs."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import msgspec
from filelock import FileLock

from mlmgmt_nb.service.building.install import EPOCH
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.media import LAYER, LAYER_GZIP, Descriptor, Layer

__all__ = ["LayerCache", "LayerWriter", "writing_layer"]

_COMPRESSION = 3
"""Level of gzip: higher levels make packages hardly smaller, and delay new images."""


class LayerWriter:
    """Writes the files of a layer, always with the same bytes for the same content."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names: dict[tuple[int, int], str] = {}

    def folder(self, name: str, owner: int = 0) -> None:
        """Add an empty folder."""
        entry = self._entry(name, owner)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        self._archive.addfile(entry)

    def text(self, name: str, content: str) -> None:
        """Add a text file."""
        data = content.encode()
        entry = self._entry(name, 0)
        entry.size = len(data)
        self._archive.addfile(entry, io.BytesIO(data))

    def link(self, name: str, target: str, owner: int = 0) -> None:
        """Add a symbolic link."""
        entry = self._entry(name, owner)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._archive.addfile(entry)

    def tree(self, path: Path, name: str, owner: int = 0, keep: Callable[[Path], bool] = lambda _: True) -> None:
        """Add a file, or a folder with its content.

        Args:
            path: the file or folder.
            name: its name in the image.
            owner: user and group id.
            keep: returns whether to add a file or link.
        """
        if path.is_dir() and not path.is_symlink():
            self.folder(name, owner)
            for child in sorted(path.iterdir()):
                self.tree(child, f"{name}/{child.name}", owner, keep)
        elif keep(path) and path.is_symlink():
            self.link(name, os.readlink(path), owner)
        elif keep(path):
            self._file(path, name, owner)

    def _file(self, path: Path, name: str, owner: int) -> None:
        status = path.stat()
        entry = self._entry(name, owner)
        entry.mode = 0o755 if status.st_mode & 0o100 else 0o644
        identity = (status.st_dev, status.st_ino)
        if (first := self._names.setdefault(identity, name)) != name:
            entry.type, entry.linkname = tarfile.LNKTYPE, first
            self._archive.addfile(entry)
            return
        entry.size = status.st_size
        with path.open("rb") as file:
            self._archive.addfile(entry, file)

    def _entry(self, name: str, owner: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.mtime, entry.mode, entry.uid, entry.gid = EPOCH, 0o644, owner, owner
        return entry


class _Hashing(io.RawIOBase):
    """A writable file that hashes the bytes written to it."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@contextlib.contextmanager
def writing_layer(blobs: BlobStore, made: list[Layer], *, is_compressed: bool = True) -> Iterator[LayerWriter]:
    """Yield a writer; append the layer to `made` when it is complete.

    Args:
        blobs: receives the layer.
        made: receives its descriptor.
        is_compressed: whether to compress the layer: models rarely get smaller, and compressing them takes long.
    """
    with blobs.writing() as file:
        stored = _Hashing(file)
        with contextlib.ExitStack() as stack:
            plain = stored
            if is_compressed:
                target = cast("IO[bytes]", stored)
                packed = gzip.GzipFile(fileobj=target, mode="wb", compresslevel=_COMPRESSION, mtime=0, filename="")
                plain = _Hashing(cast("IO[bytes]", stack.enter_context(packed)))
            with tarfile.open(fileobj=cast("BinaryIO", plain), mode="w|", format=tarfile.GNU_FORMAT) as archive:
                yield LayerWriter(archive)
        content = Descriptor(LAYER_GZIP if is_compressed else LAYER, stored.digest, stored.size)
        blobs.keep(file, stored.digest)
        made.append(Layer(content, plain.digest))


class LayerCache:
    """Layers by a key of all of their inputs. Threads and processes may share it.

    Args:
        blobs: the store with the layers.
        folder: receives a file for each key.
    """

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def get(self, key: str, make: Callable[[], Layer]) -> tuple[Layer, bool]:
        """Return a layer, and whether it was in the cache; make it if it was not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        known = self._folder / f"{key}.json"
        with FileLock(self._folder / f"{key}.lock", mode=0o600):
            with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
                layer = msgspec.json.decode(known.read_bytes(), type=Layer)
                if self._blobs.has(layer.content):
                    known.touch()
                    return layer, True
            layer = make()
            partial = known.with_suffix(".partial")
            partial.write_bytes(msgspec.json.encode(layer))
            partial.replace(known)
            return layer, False
