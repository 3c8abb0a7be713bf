"""A package whose build does not end. It includes its build backend, so that no package index is needed."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["endless_package"]

_PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "endless"
version = "1"
"""
_BACKEND = """\
import subprocess, sys
def _wait(*args, **more):
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", *{words!r}])
get_requires_for_build_wheel = prepare_metadata_for_build_wheel = build_wheel = _wait
"""


def endless_package(folder: Path, *words: str) -> Path:
    """Return the source archive of the package; the process of its build has these words on its command line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "endless-1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("endless-1/pyproject.toml", _PROJECT)
        archive.writestr("endless-1/backend.py", _BACKEND.format(words=words))
    return path
