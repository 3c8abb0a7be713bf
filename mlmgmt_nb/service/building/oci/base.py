"""Base images that are read without running them: their layers, and the Python that they have.

A base image comes from a registry, or from an OCI archive or folder on the disk of the service.
"""

from __future__ import annotations

import contextlib
import gzip
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract_tar
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.building.built_image import repository_of
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.media import (
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
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
_OF_INTEREST = re.compile(
    r"(.*/)?(python3(\.\d+)?|java)|bin|sbin|lib|lib64|usr/bin"  # programs, and folders that are links
    r"|.*lib/python3\.\d+/os\.py|etc/(passwd|group)|(usr/)?lib/ld-musl-.*"
)
_SMALL_BYTES = 2**20
_MOST_LINKS = 16


class _Entry(msgspec.Struct, frozen=True):
    """An entry of a layer that says what the image has."""

    link: str | None = None
    text: str = ""


class BaseImage(msgspec.Struct, frozen=True, rename="camel"):
    """A base image.

    Attributes:
        name: the reference or path that it was requested by.
        digest: digest of its manifest.
        config: its configuration.
        layers: its layers, the lowest first.
        python: its Python.
        interpreter: path of the Python executable, without links.
        has_java: whether its `PATH` has a Java runtime.
        users, groups: its `/etc/passwd` and `/etc/group`.
    """

    name: str
    digest: str
    config: dict[str, Any]
    layers: list[Layer]
    python: Python
    interpreter: str
    has_java: bool
    users: str
    groups: str


resolve(BaseImage)


def variables_of(config: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables in the configuration of an image, always with a `PATH`."""
    given = (config.get("config") or {}).get("Env") or []
    return {"PATH": _DEFAULT_PATH, **dict(each.partition("=")[::2] for each in given)}


def is_path(base: str) -> bool:
    """Return whether a base image is named by a path of an archive or folder, not by a reference."""
    return base.startswith(("/", "./", "../", "~"))


class BaseImages:
    """Base images, kept in the state folder.

    Args:
        blobs: receives their contents.
        folder: receives what was found in them, by digest.
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
            image = self._look(name, digest, manifest)
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
        for content in (manifest.config, *manifest.layers):
            source.pull(content, self._blobs, log, cancellation)
        return manifest, digest_of(text)

    def _of_path(self, name: str) -> tuple[Manifest, str]:
        """Return the manifest of an OCI layout, whose contents are then in the blob store."""
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

    def _look(self, name: str, digest: str, manifest: Manifest) -> BaseImage:
        try:
            config = msgspec.json.decode(self._blobs.read(manifest.config), type=dict[str, Any])
            diff_ids = config["rootfs"]["diff_ids"]
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise BuildError("BadBaseImage", f"The configuration of the base image {name} cannot be read.") from error
        if len(diff_ids) != len(manifest.layers):
            raise BuildError("BadBaseImage", f"The configuration of the base image {name} has other layers.")
        architecture = config.get("architecture")
        if architecture != machine():
            message = f"The base image {name} is for {architecture}, and this machine is {machine()}."
            raise BuildError("BadBaseImage", message)
        tree = _Tree()
        for layer in manifest.layers:
            tree.apply(self._entries(name, layer))
        folders = variables_of(config)["PATH"].split(":")
        interpreter, version = tree.python(name, folders)
        return BaseImage(
            name=name,
            digest=digest,
            config=config,
            layers=[Layer(layer.in_oci(), diff) for layer, diff in zip(manifest.layers, diff_ids, strict=True)],
            python=Python(version, architecture, "musl" if tree.has_musl else "glibc"),
            interpreter=interpreter,
            has_java=tree.program("java", folders) is not None,
            users=tree.text("etc/passwd"),
            groups=tree.text("etc/group"),
        )

    def _entries(self, name: str, layer: Descriptor) -> Iterator[tuple[str, _Entry]]:
        """Yield the entries of a layer that matter here."""
        with self._blobs.path(layer.digest).open("rb") as file:
            source = gzip.GzipFile(fileobj=file) if layer.in_oci().media_type == LAYER_GZIP else file
            try:
                with tarfile.open(fileobj=cast("BinaryIO", source), mode="r|") as archive:
                    for entry in archive:
                        path = posixpath.normpath(entry.name).lstrip("/")
                        is_whiteout = path.rpartition("/")[2].startswith(".wh.")
                        if is_whiteout or (_OF_INTEREST.fullmatch(path) and not entry.isdir()):
                            yield path, _entry(archive, entry)
            except (tarfile.TarError, EOFError, OSError) as error:
                message = f"The base image {name} cannot be read: layer {layer.digest} ({layer.media_type}): {error}."
                raise BuildError("BadBaseImage", message) from error


def _entry(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> _Entry:
    if entry.issym():
        return _Entry(entry.linkname)
    if entry.islnk():
        return _Entry(f"/{entry.linkname.lstrip('/')}")
    is_text = entry.name.rpartition("/")[2] in {"passwd", "group"} and entry.size < _SMALL_BYTES
    content = archive.extractfile(entry) if is_text else None
    return _Entry(text=content.read().decode(errors="replace") if content else "")


class _Tree:
    """The files of interest of an image, as its layers leave them."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def apply(self, layer: Iterator[tuple[str, _Entry]]) -> None:
        """Add a layer. Its whiteouts hide files of the layers below, not its own."""
        added: dict[str, _Entry] = {}
        for path, entry in layer:
            head, _, last = path.rpartition("/")
            if last == ".wh..wh..opq":
                self._apply_whiteout(f"{head}/", is_folder=True)
            elif last.startswith(".wh."):
                self._apply_whiteout(posixpath.join(head, last.removeprefix(".wh.")), is_folder=False)
            else:
                added[path] = entry
        self._entries |= added

    def _apply_whiteout(self, path: str, *, is_folder: bool) -> None:
        prefix = path if is_folder else f"{path}/"
        self._entries = {
            name: entry for name, entry in self._entries.items() if name != path and not name.startswith(prefix)
        }

    @property
    def has_musl(self) -> bool:
        return any(re.fullmatch(r"(usr/)?lib/ld-musl-.*", path) for path in self._entries)

    def text(self, path: str) -> str:
        return self._entries.get(path, _Entry()).text

    def program(self, name: str, folders: list[str]) -> str | None:
        """Return the path of a program, without links, as `PATH` finds it."""
        return next(filter(None, (self._resolved(posixpath.join(folder, name)) for folder in folders)), None)

    def python(self, image: str, folders: list[str]) -> tuple[str, str]:
        """Return the path of Python, and its version.

        Raises:
            BuildError: there is none, or it is too old.
        """
        interpreter = self.program("python3", folders)
        if interpreter is None:
            raise BuildError("BadBaseImage", f"The base image {image} has no python3 in its PATH.")
        library = posixpath.join(posixpath.dirname(posixpath.dirname(interpreter)), "lib/").lstrip("/")
        found = re.compile(re.escape(library) + r"python(3\.\d+)/os\.py")
        versions = {match[1] for path in self._entries if (match := found.fullmatch(path))}
        named = posixpath.basename(interpreter).removeprefix("python")
        version = named if named in versions else max(versions, key=_number, default="")
        if not version:
            message = f"The base image {image} has {interpreter} without a standard library in /{library}."
            raise BuildError("BadBaseImage", message)
        if _number(version) < (3, 11):
            message = f"The base image {image} has Python {version}; the scoring runtime needs 3.11 or newer."
            raise BuildError("BadBaseImage", message)
        return interpreter, version

    def _resolved(self, path: str) -> str | None:
        """Follow links; return the path of a file, or None."""
        current = posixpath.normpath(path)
        for _ in range(_MOST_LINKS):
            current = self._in_real_folder(current)
            entry = self._entries.get(current.lstrip("/"))
            if entry is None:
                return None
            if entry.link is None:
                return current
            current = posixpath.normpath(posixpath.join(posixpath.dirname(current), entry.link))
        return None

    def _in_real_folder(self, path: str) -> str:
        """Follow a link at the top of a path, as `/bin` to `/usr/bin`."""
        for _ in range(_MOST_LINKS):
            folder = posixpath.dirname(path)
            entry = self._entries.get(folder.lstrip("/"))
            if entry is None or entry.link is None:
                return path
            target = posixpath.normpath(posixpath.join(posixpath.dirname(folder), entry.link))
            path = posixpath.join(target, posixpath.basename(path))
        return path


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
