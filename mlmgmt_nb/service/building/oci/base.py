"""Base images, inspected without running them: their layers and their Python.

A base image comes from a registry, or from an OCI archive or folder on the disk of the service.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import tempfile
from pathlib import Path
from typing import IO, cast

import msgspec

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract_tar, read_tar
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.building.built_image import repository_of
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.image_files import ImageFiles, number
from mlmgmt_nb.service.building.oci.media import (
    LAYER,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Layer,
    Manifest,
    digest_of,
    machine,
    select_manifest,
)
from mlmgmt_nb.service.building.oci.registry import Repository
from mlmgmt_nb.service.building.packages.python import Python
from mlmgmt_nb.service.files.logs import Log

__all__ = ["BaseImage", "BaseImages", "is_path", "variables_of"]

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BaseImage(msgspec.Struct, frozen=True, rename="camel"):
    """A base image.

    Attributes:
        name: the reference or path in the request.
        digest: digest of its manifest.
        config: its configuration.
        layers: its layers, lowest first.
        python: its Python.
        interpreter: path of the Python executable, without links.
        has_java: whether its `PATH` has a Java runtime.
        users, groups: its `/etc/passwd` and `/etc/group`.
    """

    name: str
    digest: str
    config: ImageConfig
    layers: list[Layer]
    python: Python
    interpreter: str
    has_java: bool
    users: str
    groups: str


resolve(BaseImage)


def variables_of(config: ImageConfig) -> dict[str, str]:
    """Return the environment variables in the configuration of an image, always with a `PATH`."""
    return {"PATH": _DEFAULT_PATH, **dict(each.partition("=")[::2] for each in config.settings.env or ())}


def is_path(base: str) -> bool:
    """Return whether a base image is given as a path of an archive or folder, not as a reference."""
    return base.startswith(("/", "./", "../", "~"))


class BaseImages:
    """Base images, kept in the state folder.

    Args:
        blobs: receives their contents.
        folder: receives the description of each image, by digest.
    """

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def get(self, name: str, log: Log, cancellation: Cancellation) -> BaseImage:
        """Return a base image; pull it if necessary.

        Raises:
            BuildError: it does not exist, or does not have Python 3.11 or newer.
        """
        manifest, digest = self._of_path(name) if is_path(name) else self._of_registry(name, log, cancellation)
        known = self._folder / f"{digest.removeprefix('sha256:')}.json"
        try:
            image = msgspec.json.decode(known.read_bytes(), type=BaseImage)
        except (FileNotFoundError, msgspec.MsgspecError):
            image = self._look(name, digest, manifest, cancellation)
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = known.with_suffix(".partial")
            partial.write_bytes(msgspec.json.encode(image))
            partial.replace(known)
        return msgspec.structs.replace(image, name=name)

    def _of_registry(self, name: str, log: Log, cancellation: Cancellation) -> tuple[Manifest, str]:
        repository, tag = repository_of(name)
        source = Repository(repository)
        text = source.manifest(tag)
        manifest = msgspec.json.decode(text, type=Manifest)
        contents = [manifest.config, *manifest.layers]
        for place, content in enumerate(contents, start=1):
            if not self._blobs.has(content):
                part = f"part {place} of {len(contents)}, {content.size / 2**20:.1f} MiB"
                log.line(f"[mlmgmt] image: pulling {name}, {part}")
            source.pull(content, self._blobs, log, cancellation)
        return manifest, digest_of(text)

    def _of_path(self, name: str) -> tuple[Manifest, str]:
        """Store the contents of an OCI layout in the blob store, and return its manifest."""
        path = Path(name).expanduser()
        if path.is_dir():
            return self._of_layout(path, name)
        try:
            status = path.stat()
            key = digest_of(f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}".encode())
            known = self._folder / f"{key.removeprefix('sha256:')}.archive"
            if (found := self._known(known)) is not None:
                return found
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix="partial-") as folder:
                with path.open("rb") as file:
                    extract_tar(file, Path(folder), Limits.of_disk(self._folder))
                found = self._of_layout(Path(folder), name)
        except (OSError, ArchiveError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BuildError("BadBaseImage", f"The base image {name} cannot be read: {reason}.") from error
        known.write_text(found[1])
        return found

    def _known(self, path: Path) -> tuple[Manifest, str] | None:
        """Return the manifest of an archive that was read before, unless its contents were removed."""
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError, BuildError):
            digest = path.read_text()
            manifest = msgspec.json.decode(self._blobs.path(digest).read_bytes(), type=Manifest)
            if all(self._blobs.has(each) for each in (manifest.config, *manifest.layers)):
                return manifest, digest
        return None

    def _of_layout(self, folder: Path, name: str) -> tuple[Manifest, str]:
        def file(found: Descriptor) -> Path:
            return folder / "blobs" / "sha256" / self._blobs.path(found.digest).name

        what = f"The base image {name}"
        try:
            text = select_manifest((folder / "index.json").read_bytes(), what, lambda found: file(found).read_bytes())
            manifest = msgspec.json.decode(text, type=Manifest)
            for each in (manifest.config, *manifest.layers):
                if not self._blobs.has(each):
                    with file(each).open("rb") as content:
                        self._blobs.add(each, iter(lambda: content.read(2**20), b""))
        except OSError as error:
            message = f"{what} is not an OCI archive or folder ({error.strerror}: {error.filename})."
            raise BuildError("BadBaseImage", message) from error
        return manifest, self._blobs.add_bytes(text, MANIFEST).digest

    def _look(self, name: str, digest: str, manifest: Manifest, cancellation: Cancellation) -> BaseImage:
        config = self._config(name, manifest)
        layers = [
            Layer(layer.in_oci(), diff) for layer, diff in zip(manifest.layers, config.rootfs.diff_ids, strict=True)
        ]
        files = ImageFiles()
        for layer in layers:
            self._read_layer(name, layer, files, cancellation)
        folders = variables_of(config)["PATH"].split(":")
        interpreter, version = _python(name, files, folders)
        return BaseImage(
            name=name,
            digest=digest,
            config=config,
            layers=layers,
            python=Python(version, config.architecture, "musl" if files.has_musl else "glibc"),
            interpreter=interpreter,
            has_java=files.program("java", folders) is not None,
            users=files.text("etc/passwd"),
            groups=files.text("etc/group"),
        )

    def _config(self, name: str, manifest: Manifest) -> ImageConfig:
        """Return the configuration of an image for this machine."""
        try:
            config = msgspec.json.decode(self._blobs.read(manifest.config), type=ImageConfig)
        except (msgspec.MsgspecError, RecursionError) as error:
            message = f"The configuration of the base image {name} cannot be read: {error}."
            raise BuildError("BadBaseImage", message) from error
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            raise BuildError("BadBaseImage", f"The configuration of the base image {name} has other layers.")
        if (config.os, config.architecture) != ("linux", machine()):
            platform = f"{config.os}/{config.architecture}"
            message = f"The base image {name} is for {platform}, and this machine is linux/{machine()}."
            raise BuildError("BadBaseImage", message)
        return config

    def _read_layer(self, name: str, layer: Layer, files: ImageFiles, cancellation: Cancellation) -> None:
        """Apply a layer to the files of its image, and verify its digest."""
        media_type, digest = layer.content.media_type, layer.content.digest
        where = f"The base image {name} cannot be read: its layer {digest} ({media_type})"
        if media_type not in {LAYER, LAYER_GZIP}:
            raise BuildError("BadBaseImage", f"{where} has an unknown format; use layers in tar, or in tar with gzip.")
        with self._blobs.path(digest).open("rb") as file:
            packed = gzip.GzipFile(fileobj=file) if media_type == LAYER_GZIP else file
            plain = _Plain(cast("IO[bytes]", packed))
            try:
                read_tar(cast("IO[bytes]", plain), lambda _: cancellation.check(), files.apply)
            except ArchiveError as error:
                raise BuildError("BadBaseImage", f"{where} {error}.") from error
        if plain.digest != layer.diff_id:
            raise BuildError("BadBaseImage", f"{where} is not the one that the configuration of the image names.")


class _Plain(io.RawIOBase):
    """An uncompressed layer, hashed as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _python(image: str, files: ImageFiles, folders: list[str]) -> tuple[str, str]:
    """Return the path of the Python of an image, and its version.

    Raises:
        BuildError: the image has no Python, or its Python is too old.
    """
    interpreter = files.program("python3", folders)
    if interpreter is None or not interpreter.isprintable():
        raise BuildError("BadBaseImage", f"The base image {image} has no python3 in its PATH.")
    library, version = files.library_of(interpreter)
    if not version:
        message = f"The base image {image} has {interpreter} without a standard library in /{library}."
        raise BuildError("BadBaseImage", message)
    if number(version) < (3, 11):
        message = f"The base image {image} has Python {version}; the scoring runtime needs 3.11 or newer."
        raise BuildError("BadBaseImage", message)
    return interpreter, version
