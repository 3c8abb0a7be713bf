"""The packages that a manifest requests, in its requirements file and its conda environment file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mlmgmt_nb.contract import Manifest
from mlmgmt_nb.contract.conda import CondaFile
from mlmgmt_nb.contract.requirements import Option
from mlmgmt_nb.service.building.context import Context
from mlmgmt_nb.service.building.docker.dockerfile import PACKAGES
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.conda import (
    asks_for_conda,
    check_python,
    local_packages,
    read_conda,
    read_content,
)
from mlmgmt_nb.service.building.packages.lock import Lock
from mlmgmt_nb.service.building.packages.requirements import RequirementSet, RequirementsReader, without_login
from mlmgmt_nb.service.building.packages.superseded import (
    companions,
    without_retired_indexes,
    without_superseded,
    working_releases,
)
from mlmgmt_nb.service.files.logs import Log

__all__ = ["RequestedPackages", "requested_packages"]

_OF_BUILDS = frozenset({"--trusted-host", "--find-links", "--no-index", "--pre", "--only-binary"})
"""Options that apply to the build requirements of source archives, in addition to the index."""


class RequestedPackages(msgspec.Struct, kw_only=True):
    """The requested packages.

    Attributes:
        requested: the pip packages.
        conda: the conda environment file, whose pip section is part of `requested`.
        content: its decoded content.
        reader: reads additional lines.
    """

    requested: RequirementSet
    conda: CondaFile | None
    content: dict[str, object]
    reader: RequirementsReader

    @property
    def is_empty(self) -> bool:
        """Return whether no packages are requested, and any Python will do."""
        return not self.requested.lines and (self.conda is None or not self.conda.packages)

    def add_spark(self, is_installed: Callable[[], bool]) -> None:
        """Add pyspark for a driver of the `SparkPython` runtime, which includes it.

        Args:
            is_installed: returns whether the interpreter for drivers without requirements has pyspark.
        """
        is_asked = any(requirement.name == "pyspark" for requirement in self.requested.requirements)
        if not is_asked and (not self.is_empty or not is_installed()):
            self.requested.added.append("pyspark")

    def take_conda_from_pip(self, log: Log) -> str:
        """Add pip equivalents of the conda packages; return the interpreter that the conda file requests.

        Raises:
            BuildError: compute `local` cannot install the conda file.
        """
        if self.conda is None:
            return sys.executable
        found = local_packages(self.conda)
        for entry in found.left_out:
            log.line(f"skipping {entry}: Python includes it")
        added = self.reader.read(found.lines, "condaEnvFile")
        self.requested.requirements += without_superseded(added.requirements, log)
        return found.interpreter

    def needs_conda(self, python: str) -> bool:
        """Return whether pip alone cannot install the conda file in an image with this Python version."""
        return self.conda is not None and asks_for_conda(self.conda, python)

    def write_environment(self, folder: Path) -> None:
        """Write the part that conda installs: the whole file except the pip section, which pip installs afterwards."""
        import yaml  # few images have conda packages

        assert self.conda is not None
        check_python(self.conda)
        packages: list[object] = [*self.conda.packages]
        if self.requested.lines and not any(entry.split("=")[0].strip() == "pip" for entry in self.conda.packages):
            packages.append("pip")
        text = yaml.safe_dump({**self.content, "dependencies": packages}, sort_keys=False)
        (folder / "environment.yml").write_text(text, encoding="utf-8")

    def pip_file(self, lock: Lock) -> str:
        """Return the requirements file of an image whose packages are locked."""
        lines = lock.pip_lines(by_url=self.requested.has_own_indexes)
        return "".join(f"{line}\n" for line in [*self._build_options(), *lines])

    def _build_options(self) -> list[str]:
        """Return the options for the sources of the build requirements of source archives.

        The packages themselves do not need these options: they are locked. pip does not order its indexes, so if there
        are several, it must not use any.
        """
        options = list(dict.fromkeys(_line(option) for option in self.requested.options if option.name in _OF_BUILDS))
        if self.requested.has_several_indexes:
            return [*options, "--no-index"]
        index = self.requested.values("--index-url")
        return [*options, *([f"--index-url {without_login(index[-1])}"] if index else [])]

    def check_logins(self) -> None:
        """Check that each host has one login: with a lock, pip gets its logins by host.

        Raises:
            BuildError: a host has several logins.
        """
        if hosts := self.requested.hosts_with_several_logins:
            raise BuildError(
                "RequirementsFailed",
                f"pipRequirements: {', '.join(hosts)}: the package indexes have different logins, and the build of an "
                "image has one for each host. Use a login that all of them accept.",
            )

    def check_sources(self, lock: Lock) -> None:
        """Check that pip can build the source archives of a lock without taking anything from a wrong index.

        Raises:
            BuildError: it cannot, because there are several indexes.
        """
        if self.requested.has_several_indexes and not self.requested.has("--find-links") and lock.sources:
            raise BuildError(
                "RequirementsFailed",
                f"pipRequirements: {', '.join(lock.sources)}: no wheel exists, and with --extra-index-url pip would "
                "take what it needs to build the source from whichever index has the newest. Use --index-url alone, "
                "send a wheel of it, or send the packages that its build needs with --find-links FOLDER.",
            )

    def unlocked_pip_file(self, folder: Path) -> str:
        """Return the requirements file of an image with conda packages.

        Args:
            folder: the build context; the constraints are written to it.

        Raises:
            BuildError: pip alone cannot satisfy the request.
        """
        if self.requested.values("--extra-index-url"):
            raise BuildError(
                "CondaPackages",
                "pipRequirements: --extra-index-url beside packages of conda: pip would take a package from whichever "
                "index has the newest. Use --index-url, or list all packages in the requirements.",
            )
        options = [_line(option) for option in self.requested.options]
        if self.requested.constraints:
            limits = "".join(f"{requirement}\n" for requirement in self.requested.constraints)
            (folder / PACKAGES / "constraints.txt").write_text(limits, encoding="utf-8")
            options.append(f"--constraint {PACKAGES}/constraints.txt")
        lines = [*options, *map(str, self.requested.requirements), *self.requested.added]
        return "".join(f"{line}\n" for line in lines)


def requested_packages(
    context: Context, manifest: Manifest, log: Log, indexes: Sequence[Option] = ()
) -> RequestedPackages:
    """Read the packages that a manifest requests; skip packages that cannot work, with a line in the log.

    Args:
        context: the build context.
        manifest: the manifest.
        log: log of the build.
        indexes: the indexes of the machine, which come before those of the manifest.

    Raises:
        BuildError: a file cannot be read, or names a package that cannot be installed.
    """
    properties = manifest.target_runtime.properties
    reader = RequirementsReader(context.folder, context.add_file)
    lines: list[str] = []
    if url := properties.get("pipRequirements"):
        lines = _text(context.add_file(url, "pipRequirements"), "pipRequirements").splitlines()
    requested = reader.read(lines, "pipRequirements")
    conda: CondaFile | None = None
    content: dict[str, object] = {}
    if url := properties.get("condaEnvFile"):
        path = context.add_file(url, "condaEnvFile")
        content = read_content(path)
        conda = read_conda(content)
        path.unlink()
        requested.extend(reader.read(conda.pip, "condaEnvFile"))
    given, requested.requirements = requested.requirements, without_superseded(requested.requirements, log)
    requested.constraints += working_releases(requested.requirements)
    requested.options[:] = [*indexes, *without_retired_indexes(requested.options, log)]
    packages = RequestedPackages(requested=requested, conda=conda, content=content, reader=reader)
    if not packages.is_empty:
        requested.added += companions(given)
    return packages


def _line(option: Option) -> str:
    """Return an option as a line of a requirements file, without logins."""
    return f"{option.name} {without_login(option.value)}".strip()


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BuildError("BadRequirements", f"{what}: not UTF-8 text: {error.reason}.") from error
    finally:
        path.unlink()
