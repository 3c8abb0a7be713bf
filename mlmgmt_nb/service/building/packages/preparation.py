"""The packages of an image: an environment on this machine, or the locked requirements of a Docker image."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mlmgmt_nb.contract import Manifest
from mlmgmt_nb.contract.requirements import Option
from mlmgmt_nb.scoring.distribution import REQUIRED_PACKAGES, pinned_packages
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.context import Context
from mlmgmt_nb.service.building.docker.dockerfile import Recipe
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.image_builders import ImageBuilder
from mlmgmt_nb.service.building.packages.environments import Environments, import_failure
from mlmgmt_nb.service.building.packages.installed import has_all
from mlmgmt_nb.service.building.packages.machine_indexes import options_of_uv
from mlmgmt_nb.service.building.packages.packages import requested_packages
from mlmgmt_nb.service.building.packages.requirements import RequirementSet
from mlmgmt_nb.service.files.logs import Log

__all__ = ["LockedPackages", "lock_for_image", "prepare_local"]


class LockedPackages(NamedTuple):
    """The packages of a Docker image.

    Attributes:
        recipe: the recipe, with `conda` set if conda installs packages.
        requirements: the content of the requirements file.
        requested: the packages that were requested, with indexes and logins.
    """

    recipe: Recipe
    requirements: str
    requested: RequirementSet


def prepare_local(
    context: Context, manifest: Manifest, environments: Environments, output: Log, cancellation: Cancellation
) -> tuple[str, str]:
    """Return the interpreter that runs the driver on this machine, and the requirements of the image.

    Raises:
        BuildError: the packages cannot be installed, or the interpreter lacks those of the runtime.
    """
    interpreter = manifest.target_runtime.properties.get("pythonInterpreter") or sys.executable
    packages = requested_packages(context, manifest, output, options_of_uv(os.environ))
    if manifest.target_runtime.runtime_type == "SparkPython":
        packages.add_spark(is_installed=lambda: import_failure(interpreter, ["pyspark"]) is None)
    if packages.is_empty:
        output.line(f"none; using {interpreter}")
        _check_interpreter(interpreter)
        return interpreter, "\n".join(pinned_packages())
    if packages.conda is None and manifest.target_runtime.properties.get("pythonInterpreter"):
        lines = list(map(str, packages.requested.lines))
        if has_all(interpreter, lines):
            output.line(f"{interpreter} has all of them and runs the driver")
            _check_interpreter(interpreter)
            return interpreter, "\n".join([*lines, *pinned_packages()])
    base = packages.take_conda_from_pip(output)
    packages.requested.added += pinned_packages()
    environment = environments.ensure(packages.requested, context.folder, base, output, cancellation)
    return str(environment.interpreter), packages.pip_file(environment.lock)


def lock_for_image(
    context: Context,
    manifest: Manifest,
    recipe: Recipe,
    environments: Environments,
    builder: ImageBuilder,
    indexes: Sequence[Option],
    output: Log,
    cancellation: Cancellation,
) -> LockedPackages:
    """Return the packages of a Docker image, pinned unless conda is involved.

    Args:
        context: the build context; the lock is written to it.
        manifest: requests the packages.
        recipe: the recipe of the image.
        environments: resolves the packages.
        builder: the builder of the image.
        indexes: the package indexes of the machine.
        output: log of the build.
        cancellation: cancellation of the build.

    Raises:
        BuildError: the packages cannot be resolved, or the builder cannot install them.
    """
    python = builder.python_of(recipe.base, output, cancellation)
    packages = requested_packages(context, manifest, output, indexes)
    if manifest.target_runtime.runtime_type == "SparkPython":
        packages.add_spark(is_installed=lambda: False)
    packages.requested.added += pinned_packages()
    packages.check_logins()
    if packages.needs_conda(python.version):
        if not builder.runs_commands:
            raise BuildError(
                "NeedsEngine",
                "condaEnvFile: conda installs its packages by running in the image, which needs a Docker engine. "
                "Start one, or name packages of pip instead.",
            )
        packages.write_environment(context.folder)
        recipe = msgspec.structs.replace(recipe, conda=True, locked=False)
        return LockedPackages(recipe, packages.unlocked_pip_file(context.folder), packages.requested)
    lock = environments.lock(packages.requested, context.folder, python, output, cancellation)
    if builder.runs_commands:
        packages.check_sources(lock)
    elif lock.sources and not python.is_this_platform:
        raise BuildError(
            "NeedsEngine",
            f"pipRequirements: {', '.join(lock.sources)}: no wheel exists for Python {python.version} on "
            f"{python.platform}, and this machine has another Python. Start a Docker engine, or send a wheel.",
        )
    return LockedPackages(recipe, packages.pip_file(lock), packages.requested)


def _check_interpreter(interpreter: str) -> None:
    """Raise BuildError unless an interpreter has the packages of the scoring runtime."""
    if interpreter != sys.executable and (reason := import_failure(interpreter, REQUIRED_PACKAGES)):
        raise BuildError(
            "BadInterpreter",
            f"pythonInterpreter: {interpreter} lacks packages that the scoring runtime needs ({reason}); "
            "install mlmgmt-nb there, or add requirements to the manifest.",
        )
