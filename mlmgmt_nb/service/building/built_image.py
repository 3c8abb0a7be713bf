"""A Docker image to build from a context, and the image that was built, recorded in the folder of the context."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from mlmgmt_nb.contract.extensions import DockerImage
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.building.archives import add_tree
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker.dockerfile import COMMAND, HEALTH_CHECK, SCORING_PORT, Recipe
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.requirements import RequirementSet
from mlmgmt_nb.service.files.logs import Log

__all__ = ["BuiltImage", "ImageBuild", "Program", "context_archive", "repository_of"]

_BUILT = "docker.json"
"""File of a build context that records the built image."""

_AGAIN = "Create the image again, and update the services that run it."


class Program(NamedTuple):
    """The program of an image: its command, the port that it listens on, and a command that checks it."""

    command: tuple[str, ...]
    port: int
    health_check: tuple[str, ...] | None


_SCORING = Program(
    (*COMMAND, "--host", "0.0.0.0", "--port", str(SCORING_PORT)),  # noqa: S104 - inside of a container
    SCORING_PORT,
    HEALTH_CHECK,
)


@dataclass(frozen=True, kw_only=True)
class ImageBuild:
    """A Docker image to build.

    Attributes:
        context: the folder of the build context.
        recipe: the recipe of the image.
        name: name of the image.
        version: version of the image; it is the tag.
        requested: its packages, with their indexes and the logins for the indexes. The lock is in the context.
        registry: host, optionally with a path, that the image is pushed to; None to keep it on this machine.
        log: log of the build.
        cancellation: cancellation of the build.
        program: program that containers run, for an image that is built without an engine.
    """

    context: Path
    recipe: Recipe
    name: str
    version: int | str
    requested: RequirementSet
    registry: str | None
    log: Log
    cancellation: Cancellation
    program: Program = _SCORING

    @property
    def reference(self) -> str:
        """Return the reference of the image: its name and version, in the registry if there is one."""
        return f"{self.registry or 'mlmgmt'}/{self.name}:{self.version}"


class BuiltImage(DockerImage, frozen=True, rename="camel"):
    """The image built from a context, recorded in its folder."""

    @property
    def pull_reference(self) -> str | None:
        """Return the exact reference for pulling this image."""
        return f"{repository_of(self.reference)[0]}@{self.digest}" if self.digest else None

    @classmethod
    def of(cls, context: Path) -> BuiltImage | None:
        """Return the Docker image built from a context, if any.

        Raises:
            BuildError: the record cannot be read.
        """
        path = context / _BUILT
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            problem = "is damaged: its content is not valid"
        raise BuildError("DamagedImage", f"{_BUILT} in the folder of image {context.name} {problem}. {_AGAIN}")

    def note(self, context: Path) -> None:
        """Record the image in the context."""
        (context / _BUILT).write_bytes(msgspec.json.format(msgspec.json.encode(self)))


resolve(BuiltImage)


def context_archive(context: Path, target: BinaryIO) -> None:
    """Write a build context as a reproducible tar archive."""
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
