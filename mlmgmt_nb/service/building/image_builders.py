"""The two ways to build a Docker image: on a Docker engine, and without one."""

from __future__ import annotations

from typing import Protocol

from mlmgmt_nb.service.building.built_image import BuiltImage, ImageBuild
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.base import is_path
from mlmgmt_nb.service.building.packages.python import Python
from mlmgmt_nb.service.docker_engine import Engine, EngineError
from mlmgmt_nb.service.files.logs import Log

__all__ = ["ImageBuilder", "ImageBuilders"]


class ImageBuilder(Protocol):
    """Builds Docker images."""

    runs_commands: bool
    """Whether commands can run in the image while it is built, as conda and package managers need."""

    def python_of(self, base: str, log: Log, cancellation: Cancellation) -> Python:
        """Return the Python version of a base image; pull the image if necessary."""

    def build(self, image: ImageBuild) -> BuiltImage:
        """Build an image, and push it if there is a registry."""

    def sweep(self) -> None:
        """Remove leftovers of interrupted builds."""


class ImageBuilders:
    """Both builders, and the choice between them.

    Args:
        choice: one of `IMAGE_BUILDERS`.
        engine: the Docker engine, which may not exist.
        on_engine: builds on the engine.
        daemonless: builds without an engine.
    """

    def __init__(self, choice: str, engine: Engine, on_engine: ImageBuilder, daemonless: ImageBuilder) -> None:
        self._choice = choice
        self._engine = engine
        self._on_engine = on_engine
        self._daemonless = daemonless

    def check(self) -> None:
        """Raise EngineError if images can only be built on an engine, and none responds."""
        if self._choice == "engine":
            self._engine.check()

    def choose(self, base: str, log: Log) -> ImageBuilder:
        """Return the builder for an image with a base image.

        Raises:
            BuildError: the settings require an engine for a base image that is a file.
        """
        if self._choice == "engine" and is_path(base):
            message = f"The base image {base} is a file, which only --image-builder daemonless can use."
            raise BuildError("BadBaseImage", message)
        if self._choice == "engine":
            return self._on_engine
        if self._choice == "daemonless" or is_path(base):
            return self._daemonless
        try:
            self._engine.check()
        except EngineError:
            log.line("no Docker engine responds; building the image without one")
            return self._daemonless
        return self._on_engine

    def sweep_engine(self) -> None:
        """Remove containers that interrupted builds left on the engine."""
        self._on_engine.sweep()

    def sweep_files(self) -> None:
        """Remove files that interrupted builds left behind."""
        self._daemonless.sweep()
