"""Bytecode of the packages of an environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mlmgmt_nb.service.building.cancellation import Cancellation

__all__ = ["compile_packages"]

_TESTS = r"[/\\]tests?[/\\]"


def compile_packages(environment: Path, cancellation: Cancellation) -> None:
    """Compile the packages of an environment, so that replicas do not have to.

    The tests of packages are left out: they are half of the files of NumPy, pandas, SciPy and scikit-learn, and drivers
    do not import them. A file that does not compile, such as a template, is skipped; importing it reports the error.

    Args:
        environment: folder of the virtual environment.
        cancellation: cancellation of the build.

    Raises:
        BuildError: the build was cancelled.
    """
    python = str(environment / "bin" / "python")
    with (
        subprocess.Popen(
            [python, "-m", "compileall", "-qq", "-j", "0", "-x", _TESTS, str(environment / "lib")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **cancellation.environment},
        ) as process,
        cancellation.ending(process),
    ):
        process.wait()
