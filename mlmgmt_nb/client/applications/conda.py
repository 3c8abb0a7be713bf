"""Conda environment files of the user: the parts that are sent, and whether compute `local` can serve them."""

from __future__ import annotations

from pathlib import Path

from mlmgmt_nb.client.applications.requirements import Bundle
from mlmgmt_nb.contract.conda import (
    CondaFile,
    CondaFileError,
    admitted_pythons,
    advice,
    pip_equivalents,
    renamed,
)
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.interpreters import find_interpreter
from mlmgmt_nb.safe_yaml import YamlError, read_yaml

__all__ = ["check_local", "rewritten"]

LOCAL = "local"


def _read(path: Path) -> tuple[dict[str, object], CondaFile]:
    try:
        content = read_yaml(path.expanduser().read_text(encoding="utf-8-sig"))
        file = CondaFile.of(content)
    except (YamlError, UnicodeDecodeError, CondaFileError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"conda: {path} is not a conda environment file: {reason}",
            field="conda",
            fix="Write it as `conda env export` does.",
        ) from error
    assert isinstance(content, dict)
    return content, file


def rewritten(path: Path, bundle: Bundle, *, any_python: bool) -> str | None:
    """Return the file as it is sent: without paths of this machine, and without its Python version if `any_python`.

    Args:
        path: the file.
        bundle: receives the files that its pip section names.
        any_python: whether to leave out the Python version.

    Returns:
        The text; None if the file can be sent unchanged.
    """
    content, file = _read(path)
    pip = bundle.add("\n".join(file.pip), path.expanduser().resolve().parent, path.name)
    without_python = [entry for entry in file.packages if not (any_python and entry in file.pythons)]
    if without_python == file.packages and not bundle.is_changed:
        return None
    import yaml  # only for this

    dependencies = [*without_python, *([{"pip": pip}] if pip else [])]
    return yaml.safe_dump({**content, "dependencies": dependencies}, sort_keys=False)


def check_local(path: Path, *, any_python: bool, is_here: bool) -> None:
    """Check that a service can serve the file on compute `local`, with pip and a Python of its machine.

    Args:
        path: the file.
        any_python: whether to accept any Python version.
        is_here: whether the service is on this machine.

    Raises:
        UsageError: it cannot; the message has all problems and their fix.
    """
    _, file = _read(path)
    _, _, problems = pip_equivalents(file)
    python = None if any_python else _python_problem(file, is_here=is_here)
    if python or problems:
        found = [*([python] if python else []), *problems]
        others = renamed(file)
        if others:
            found.append(f"pip can install the others, including {', '.join(others)}")
        raise UsageError(
            f"conda: {path} cannot be served on compute `local`: {'; '.join(found)}",
            field="conda",
            fix=advice(about_python=bool(python), about_packages=bool(problems)),
        )


def _python_problem(file: CondaFile, *, is_here: bool) -> str | None:
    try:
        admitted = admitted_pythons(file.pythons)
    except CondaFileError as error:
        return str(error)
    asked = ", ".join(file.pythons)
    if not admitted:
        return f"{asked!r}: the scoring runtime needs Python 3.11 or newer"
    if is_here and find_interpreter(admitted) is None:
        return f"{asked!r}: this machine has no such Python, and uv cannot install one"
    return None
