"""The documents of an image: descriptors, manifests and indexes, in the formats of OCI and Docker.

Source: OCI Image Format Specification 1.1, and Docker's Image Manifest Version 2, Schema 2, which has the same fields.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from mlmgmt_nb.contract.resolving import resolve

__all__ = [
    *("CONFIG", "INDEX", "INDEXES", "LAYER", "LAYER_GZIP", "MANIFEST", "MANIFESTS"),
    *("Descriptor", "Index", "Layer", "Manifest", "digest_of", "encode"),
]

_OCI = "application/vnd.oci.image"
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


resolve(Layer, Manifest, Index)


def encode(document: Any) -> bytes:
    """Return a document as JSON, always with the same bytes."""
    return msgspec.json.encode(document, order="sorted")


def digest_of(content: bytes) -> str:
    """Return the digest of content in memory."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
