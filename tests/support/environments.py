"""Python environments with other versions and packages, created by `uv` and kept for the test session."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.components import missing

__all__ = ["interpreter", "make_environment"]


@functools.cache
def interpreter(version: str) -> Path:
    """Return an installed interpreter of a version such as `3.13`, from pyenv or found by `uv`; nothing is downloaded.

    If there is none, skip the test; in CI, fail it.
    """
    if found := sorted(_of_pyenv(version)):
        return found[-1]
    command = ["uv", "python", "find", "--no-project", "--no-python-downloads", version]
    found_by_uv = subprocess.run(command, capture_output=True, text=True, check=False)
    if found_by_uv.returncode != 0:
        missing(
            f"Python {version}", f"install it with pyenv, or set PYENV_ROOT to the pyenv that has it, not {_root()}"
        )
    return Path(found_by_uv.stdout.strip())


def _of_pyenv(version: str) -> list[Path]:
    """Return the interpreters of pyenv, which are not on `PATH`."""
    return list(_root().glob(f"versions/{version}.*/bin/python"))


def _root() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def make_environment(
    factory: pytest.TempPathFactory, name: str, python: str | Path, requirements: Sequence[str], *options: str
) -> Path:
    """Return the interpreter of an environment with these packages; create the environment on first use.

    Args:
        factory: its base folder, which the workers of a session share, receives the environment.
        name: the name of the environment in the session.
        python: the interpreter to create the environment from.
        requirements: the packages to install.
        options: further options of `uv pip install`.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / f"environment-{name}"
    executable = folder / "bin" / "python"
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            _uv("venv", "--quiet", "--clear", "--python", str(python), str(folder))
            _uv("pip", "install", "--quiet", "--python", str(executable), *options, *requirements)
            (folder / "complete").touch()
    return executable


def _uv(*arguments: str) -> None:
    made = subprocess.run(["uv", *arguments], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
