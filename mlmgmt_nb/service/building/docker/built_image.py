"""What was built of a context on a Docker engine, as the context's own folder tells."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from mlmgmt_nb.service.building.archives import add_tree

__all__ = ["BuiltImage", "context_archive", "repository_of"]

_BUILT = "docker.json"
"""File of a build context that says what was built of it."""


class BuiltImage(msgspec.Struct, frozen=True, rename="camel"):
    """What was built of a context.

    Attributes:
        reference: its name and version, with the registry if it was pushed to one.
        image_id: digest of its configuration, by which the engine knows it.
        digest: digest of its manifest in the registry.
        base: the base image.
    """

    reference: str
    image_id: str
    base: str
    digest: str | None = None

    @property
    def pull_reference(self) -> str | None:
        """Where exactly this image can be pulled from."""
        return f"{repository_of(self.reference)[0]}@{self.digest}" if self.digest else None

    @classmethod
    def of(cls, context: Path) -> BuiltImage | None:
        """Return what was built of a context on an engine, if anything."""
        try:
            return msgspec.json.decode((context / _BUILT).read_bytes(), type=cls)
        except FileNotFoundError:
            return None

    def note(self, context: Path) -> None:
        """Write it into the context."""
        (context / _BUILT).write_bytes(msgspec.json.format(msgspec.json.encode(self)))


def context_archive(context: Path, target: BinaryIO) -> None:
    """Write a build context as a tar archive, the same bytes each time."""
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path in sorted(context.iterdir()):
            if path.name != _BUILT:
                add_tree(archive, path, path.name)


def repository_of(reference: str) -> tuple[str, str]:
    """Return the name and the tag or digest: `host:5000/name:3` -> `host:5000/name`, `3`; `name@sha256:...` too."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")
