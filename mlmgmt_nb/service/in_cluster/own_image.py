"""An image of this service, built without an engine: its dependencies as one layer, its own files as another."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

import mlmgmt_nb
from mlmgmt_nb.service.building.built_image import BuiltImage, ImageBuild, Program, repository_of
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker.dockerfile import Recipe, default_base
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.builder import DaemonlessBuilder
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.building.packages.machine_indexes import options_of_uv
from mlmgmt_nb.service.building.packages.requirements import RequirementSet
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log

__all__ = ["build_own_image", "own_requirements"]

_DISTRIBUTION = "mlmgmt-nb"
_EXTRAS = ("kubernetes", "postgresql", "azure")
_PROGRAM = Program(command=("python3", "-m", "mlmgmt_nb.cli", "serve"), port=8443, health_check=None)
_LEFT_OUT = ("__pycache__", "notebook")
_OF_CLIENTS = frozenset({"anywidget", "azure-identity", "cloudpickle", "ipython", "ipywidgets", "pandas"})
"""Packages of notebooks and clients, which a service does not import."""


def own_requirements() -> Iterator[str]:
    """Yield the packages that a service in a cluster needs, for Linux."""
    for line in importlib.metadata.requires(_DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.name in _OF_CLIENTS:
            continue
        marker = requirement.marker
        environments = [{"extra": extra, "sys_platform": "linux"} for extra in ("", *_EXTRAS)]
        if marker is None or any(marker.evaluate(each) for each in environments):
            requirement.marker = None
            yield str(requirement)


def build_own_image(reference: str, base: str | None, home: Home, log: Log) -> BuiltImage:
    """Build an image of this service, and push it.

    Args:
        reference: repository and tag to push to.
        base: base image; None for a slim image with this Python version.
        home: state folder, whose caches are used.
        log: receives the lines of the build.

    Raises:
        BuildError: the image cannot be built or pushed.
    """
    name, tag = repository_of(reference)
    registry, _, last = name.rpartition("/")
    if not registry:
        raise BuildError("NoRegistry", f"{reference} names no registry. Use HOST/NAME:TAG.")
    home.environments.mkdir(parents=True, exist_ok=True)
    home.oci.mkdir(parents=True, exist_ok=True)
    environments, cancellation = Environments(home.environments), Cancellation({})
    builder = DaemonlessBuilder(home, environments)
    recipe = Recipe(base=base or default_base())
    requested = RequirementSet(added=[*own_requirements()], options=options_of_uv(os.environ))
    with tempfile.TemporaryDirectory(dir=home.oci, prefix="own-") as folder:
        context = Path(folder)
        _add_files(context)
        environments.lock(requested, context, builder.python_of(recipe.base, log, cancellation), log, cancellation)
        return builder.build(
            ImageBuild(
                context=context,
                recipe=recipe,
                name=last,
                version=tag,
                requested=requested,
                registry=registry,
                log=log,
                cancellation=cancellation,
                program=_PROGRAM,
            )
        )


def _add_files(context: Path) -> None:
    """Copy the package into the folder of the scoring runtime, and leave the folder of the application empty."""
    package = Path(mlmgmt_nb.__file__).parent
    shutil.copytree(package, context / "runtime" / package.name, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    (context / "app").mkdir()
    # The bill of materials reads the models from this file.
    (context / "app" / "model_config_map.json").write_text('{"models": {}}')
