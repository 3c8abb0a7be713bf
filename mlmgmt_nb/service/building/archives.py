"""Reproducible tar archives of build contexts, and images as OCI archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract_tar
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.install import EPOCH
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.media import Manifest

__all__ = ["add_bytes", "add_tree", "archive_of_blobs", "oci_archive"]

_OCI = "application/vnd.oci.image"
_CHUNK = 2**20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UNUSABLE = (
    ArchiveError,
    EOFError,
    FileNotFoundError,
    IndexError,
    RecursionError,
    gzip.BadGzipFile,
    msgspec.MsgspecError,
    zlib.error,
)
"""Errors that reading a damaged archive, or a file of another format, can raise."""


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), EPOCH, 0o644
    archive.addfile(entry, io.BytesIO(content))


def add_tree(archive: tarfile.TarFile, path: Path, name: str, owner: int = 0) -> None:
    """Add a file or a folder with its content: readable by everyone, and with a fixed time and owner."""
    entry = archive.gettarinfo(path, name)
    entry.uid = entry.gid = owner
    entry.uname = entry.gname = ""
    entry.mtime = EPOCH
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    if entry.islnk():  # a hard link to a file that was added before
        entry = archive.tarinfo(name)
        entry.size, entry.mtime, entry.mode = path.stat().st_size, EPOCH, 0o644
        entry.uid = entry.gid = owner
    if entry.isreg():
        with path.open("rb") as file:
            archive.addfile(entry, file)
        return
    archive.addfile(entry)
    if entry.isdir():
        for child in sorted(path.iterdir()):
            if child.name != "__pycache__":
                add_tree(archive, child, f"{name}/{child.name}", owner)


class _Layout:
    """An OCI image layout, written as a tar archive."""

    def __init__(self, target: BinaryIO) -> None:
        self._archive = tarfile.open(fileobj=target, mode="w|")  # noqa: SIM115 - closed by `close`
        self._known: set[str] = set()
        self.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def add(self, name: str, content: bytes) -> None:
        add_bytes(self._archive, name, content)

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Add a blob and return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self._add_once(digest, lambda: self.add(f"blobs/sha256/{digest}", content))
        return {"mediaType": f"{_OCI}.{media_type}", "digest": f"sha256:{digest}", "size": len(content)}

    def layer(self, source: Path) -> dict[str, Any]:
        """Add a layer, a tar archive, and return its descriptor."""
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.file(source, digest)
        return {"mediaType": f"{_OCI}.layer.v1.tar", "digest": f"sha256:{digest}", "size": source.stat().st_size}

    def file(self, source: Path, digest: str) -> None:
        """Add a file whose digest is known."""

        def write() -> None:
            entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
            entry.size, entry.mtime = source.stat().st_size, EPOCH
            with source.open("rb") as file:
                self._archive.addfile(entry, file)

        self._add_once(digest, write)

    def _add_once(self, digest: str, write: Any) -> None:
        if digest not in self._known:
            self._known.add(digest)
            write()

    def finish(self, manifest: dict[str, Any], config: str, layers: Sequence[str], reference: str) -> None:
        """Add the index, and a `manifest.json` for Docker, and close the archive."""
        annotations = {"org.opencontainers.image.ref.name": reference, "io.containerd.image.name": reference}
        entries = [{**manifest, "annotations": annotations}]
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": entries}
        self.add("index.json", json.dumps(index, sort_keys=True).encode())
        paths = [_path_of(digest) for digest in layers]
        self.add(
            "manifest.json",
            json.dumps([{"Config": _path_of(config), "RepoTags": [reference], "Layers": paths}]).encode(),
        )
        self._archive.close()


def oci_archive(saved: Iterable[bytes], target: BinaryIO, folder: Path, reference: str) -> str:
    """Convert an image saved by an engine to an OCI archive, and return the digest of its manifest.

    The archive also has a `manifest.json`, so that every version of `docker load` accepts it.

    Args:
        saved: the archive from the engine.
        folder: an empty folder for temporary files.
        reference: name and version of the image.

    Raises:
        BuildError: the engine's archive cannot be used.
    """
    try:
        extract_tar(cast("BinaryIO", _Reader(saved)), folder, Limits.of_disk(folder))
        described = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=list[_Saved])[0]
        config_file, *sources = (_inside(folder, name) for name in (described.config, *described.layers))
        plain = [_plain(source) for source in sources]
    except _UNUSABLE as error:
        raise BuildError(
            "BadArchive", f"The Docker engine's archive of {reference} cannot be used: {error}."
        ) from error
    layout = _Layout(target)
    config = layout.blob(config_file.read_bytes(), "config.v1+json")
    layers = [layout.layer(source) for source in plain]
    manifest = {"schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json", "config": config, "layers": layers}
    entry = layout.blob(json.dumps(manifest, sort_keys=True).encode(), "manifest.v1+json")
    layout.finish(entry, config["digest"], [layer["digest"] for layer in layers], reference)
    return str(entry["digest"])


def archive_of_blobs(blobs: BlobStore, digest: str, target: BinaryIO, reference: str) -> str:
    """Write an image whose contents are in the state folder as an OCI archive; return the digest of its manifest.

    Raises:
        BuildError: some of its contents are missing.
    """
    layout = _Layout(target)
    try:
        content = blobs.path(digest).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        for each in (manifest.config, *manifest.layers):
            layout.file(blobs.path(each.digest), each.digest.removeprefix("sha256:"))
    except (FileNotFoundError, msgspec.MsgspecError) as error:
        raise BuildError(
            "ImageGone", f"The contents of image {reference} are incomplete; create the image again."
        ) from error
    entry = layout.blob(content, "manifest.v1+json")
    layout.finish(entry, manifest.config.digest, [each.digest for each in manifest.layers], reference)
    return digest


def _path_of(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry for an image in the `manifest.json` of an engine's archive."""

    config: str
    layers: list[str]


resolve(_Saved)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder whose links have been checked.

    Raises:
        FileNotFoundError: the file does not exist.
        ArchiveError: the path is outside the folder.
    """
    path = (folder / name).resolve(strict=True)
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise ArchiveError(f"names {name!r}, which is not a file in it")
    return path


def _plain(layer: Path) -> Path:
    """Return a layer uncompressed, since the configuration of the image has the digest of the uncompressed layer.

    Raises:
        ArchiveError: it is compressed in a way that this Python cannot read.
        OSError, EOFError, zlib.error: it is damaged.
    """
    with layer.open("rb") as file:
        start = file.read(4)
    if start == _ZSTD:
        raise ArchiveError("has a layer that is compressed with zstd, not with gzip")
    if not start.startswith(_GZIP):
        return layer
    plain = layer.with_name(layer.name + ".plain")
    with gzip.open(layer) as packed, plain.open("wb") as file:
        while chunk := packed.read(_CHUNK):
            file.write(chunk)
    return plain


class _Reader(io.RawIOBase):
    """A readable file over an iterator of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
