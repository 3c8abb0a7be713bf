"""Conda environment files of manifests."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlmgmt_nb.contract.conda import (
    CondaFile,
    CondaFileError,
    admitted_pythons,
    advice,
    pip_equivalents,
)
from mlmgmt_nb.interpreters import HERE, find_interpreter
from mlmgmt_nb.safe_yaml import YamlError, read_yaml
from mlmgmt_nb.service.building.errors import BuildError

__all__ = ["LocalPackages", "asks_for_conda", "check_python", "local_packages", "read_conda", "read_content"]


class LocalPackages(msgspec.Struct, frozen=True):
    """The packages that compute `local` installs for a conda environment file.

    Attributes:
        lines: pip requirements.
        left_out: the packages that every Python includes.
        interpreter: the Python to use.
    """

    lines: list[str]
    left_out: list[str]
    interpreter: str


def read_content(conda_file: Path) -> dict[str, object]:
    """Decode a conda environment file.

    Raises:
        BuildError: it is not a conda environment file.
    """
    try:
        content = read_yaml(conda_file.read_text(encoding="utf-8-sig"))
    except (YamlError, UnicodeDecodeError) as error:
        raise _no_conda_file(error) from error
    if not isinstance(content, dict):
        raise _no_conda_file(CondaFileError("the list 'dependencies' is missing"))
    return content


def read_conda(content: dict[str, object]) -> CondaFile:
    """Return the conda file for its decoded content.

    Raises:
        BuildError: it is not a conda environment file.
    """
    try:
        return CondaFile.of(content)
    except CondaFileError as error:
        raise _no_conda_file(error) from error


def _no_conda_file(error: Exception) -> BuildError:
    return BuildError("BadCondaFile", f"condaEnvFile: not a conda environment file: {' '.join(str(error).split())}.")


def asks_for_conda(file: CondaFile, python: str) -> bool:
    """Return whether a conda environment file needs more than pip can install on this Python version.

    Raises:
        BuildError: its Python version cannot be parsed.
    """
    other_packages = [entry for entry in file.packages if entry not in file.pythons and entry.strip() != "pip"]
    return bool(other_packages) or python not in _admitted(file)


def check_python(file: CondaFile) -> None:
    """Check that the scoring runtime supports a Python version that a conda file admits.

    Raises:
        BuildError: the scoring runtime supports none of these versions.
    """
    if not _admitted(file):
        message = f"condaEnvFile: {', '.join(file.pythons)!r}: the scoring runtime needs Python 3.11 or newer."
        raise BuildError("PythonVersion", f"{message} {advice(about_python=True, about_packages=False)}")


def local_packages(file: CondaFile) -> LocalPackages:
    """Return the packages that compute `local` installs with pip, for a Python of this machine.

    Raises:
        BuildError: compute `local` cannot serve the file; the message lists all problems.
    """
    lines, left_out, problems = pip_equivalents(file)
    admitted = _admitted(file)
    interpreter = find_interpreter(admitted)
    python = [] if interpreter else [_python_problem(file, admitted)]
    if interpreter is None or problems:
        fix = advice(about_python=bool(python), about_packages=bool(problems))
        raise BuildError(
            "PythonVersion" if python else "CondaPackages",
            f"condaEnvFile: compute `local` cannot install it: {'; '.join([*python, *problems])}. {fix}",
        )
    return LocalPackages([*lines, *file.pip], left_out, interpreter)


def _python_problem(file: CondaFile, admitted: list[str]) -> str:
    reason = (
        "this version of Python is not installed, and uv cannot install it"
        if admitted
        else "the runtime needs 3.11 or newer"
    )
    return f"{', '.join(file.pythons)!r}: {reason} (the current Python is {HERE})"


def _admitted(file: CondaFile) -> list[str]:
    try:
        return admitted_pythons(file.pythons)
    except CondaFileError as error:
        raise BuildError("BadCondaFile", f"condaEnvFile: {error}.") from error
