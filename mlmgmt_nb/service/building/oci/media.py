"""The documents of an image: descriptors, manifests and indexes, in the formats of OCI and Docker.

Source: OCI Image Format Specification 1.1, and Docker's Image Manifest Version 2, Schema 2, which has the same fields.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.python import ARCHITECTURES

__all__ = [
    *("CONFIG", "INDEX", "INDEXES", "LAYER", "LAYER_GZIP", "MANIFEST", "MANIFESTS"),
    *(
        "Descriptor",
        "ImageConfig",
        "Index",
        "Layer",
        "Manifest",
        "RunSettings",
        "digest_of",
        "encode",
        "machine",
        "select_manifest",
    ),
]

_OCI = "application/vnd.oci.image"
_MOST_INDEXES = 4
"""Limit for documents that are read to find a manifest: an index may name another index."""
_DOCKER = "application/vnd.docker.distribution.manifest"
MANIFEST = f"{_OCI}.manifest.v1+json"
INDEX = f"{_OCI}.index.v1+json"
CONFIG = f"{_OCI}.config.v1+json"
LAYER = f"{_OCI}.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
MANIFESTS = frozenset({MANIFEST, f"{_DOCKER}.v2+json"})
INDEXES = frozenset({INDEX, f"{_DOCKER}.list.v2+json"})
_MEDIA_OF_DOCKER = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
}


class Platform(msgspec.Struct, frozen=True, rename="camel"):
    """A platform in an index."""

    os: str = ""
    architecture: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A reference to content.

    Attributes:
        media_type: its format.
        digest: `sha256:` and its SHA-256 in hexadecimal.
        size: bytes.
        platform: the platform that an entry of an index is for.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None

    def in_oci(self) -> Descriptor:
        """Return this descriptor of a layer with OCI's name of its format."""
        return Descriptor(_MEDIA_OF_DOCKER.get(self.media_type, self.media_type), self.digest, self.size)


class Layer(msgspec.Struct, frozen=True, rename="camel"):
    """A layer: its content, and the digest of the uncompressed archive."""

    content: Descriptor
    diff_id: str


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """The manifest of an image for one platform."""

    config: Descriptor
    layers: list[Descriptor]
    schema_version: int = 2
    media_type: str = MANIFEST


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """The manifests of an image for several platforms."""

    manifests: list[Descriptor]
    schema_version: int = 2
    media_type: str = INDEX


class RunSettings(msgspec.Struct, frozen=True, rename="pascal"):
    """The settings of containers of an image. The names are Docker's."""

    env: list[str] | None = None
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    volumes: dict[str, Any] | None = None


class _RootFilesystem(msgspec.Struct, frozen=True):
    """The digests of the uncompressed layers of an image."""

    diff_ids: list[str]


class ImageConfig(msgspec.Struct, frozen=True):
    """The configuration of an image."""

    architecture: str
    rootfs: _RootFilesystem
    os: str = "linux"
    config: RunSettings | None = None
    history: list[dict[str, Any]] | None = None

    @property
    def settings(self) -> RunSettings:
        return self.config or RunSettings()


class _Kind(msgspec.Struct, rename="camel"):
    """The media type in a document. Older OCI documents lack it."""

    media_type: str = ""
    manifests: Any = None
    layers: Any = None

    @property
    def kind(self) -> str:
        if self.media_type:
            return self.media_type
        if self.manifests is not None:
            return INDEX
        return MANIFEST if self.layers is not None else ""


resolve(Layer, Manifest, Index, ImageConfig, _Kind)


def machine() -> str:
    """Return the architecture of this machine, as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def select_manifest(document: bytes, what: str, read: Callable[[Descriptor], bytes]) -> bytes:
    """Return the manifest for Linux on this machine's architecture: the document itself, or one that an index names.

    Args:
        document: a manifest, or an index, which may contain others.
        what: the image, as the beginning of a sentence.
        read: returns a document that an index names.

    Raises:
        BuildError: no manifest fits this machine.
    """
    try:
        for _ in range(_MOST_INDEXES):
            kind = msgspec.json.decode(document, type=_Kind).kind
            if kind in MANIFESTS:
                msgspec.json.decode(document, type=Manifest)
                return document
            if kind not in INDEXES:
                break
            document = read(_of_this_platform(msgspec.json.decode(document, type=Index), what))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BuildError("BadImage", f"{what}: its manifest cannot be read: {error}.") from error
    raise BuildError("BadImage", f"{what}: its manifest is {kind or 'of an unknown type'}, which is not supported.")


def _of_this_platform(index: Index, what: str) -> Descriptor:
    """Return the entry for this platform, or else the first entry without a platform, as archives have."""
    known = [each for each in index.manifests if each.media_type in MANIFESTS | INDEXES]
    here = [each for each in known if each.platform in (Platform("linux", machine()), None)]
    if not here:
        message = f"{what} is for {_platforms_of(known)}, and this machine is linux/{machine()}."
        raise BuildError("BadBaseImage", message)
    return next((each for each in here if each.platform is not None), here[0])


def _platforms_of(entries: Iterable[Descriptor]) -> str:
    names = {f"{each.platform.os}/{each.platform.architecture}" for each in entries if each.platform}
    return ", ".join(sorted(names)) or "nothing"


def encode(document: Any) -> bytes:
    """Return a document as JSON, always with the same bytes."""
    return msgspec.json.encode(document, order="sorted")


def digest_of(content: bytes) -> str:
    """Return the digest of content in memory."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
