"""The parts of the runtime that an image needs: the runtime's own files, and the packages that it imports."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

__all__ = ["REQUIRED_PACKAGES", "RUNTIME_PACKAGES", "copy_runtime", "pinned_packages"]

REQUIRED_PACKAGES = ("uvicorn", "httptools", "msgspec")
RUNTIME_PACKAGES = (*REQUIRED_PACKAGES, *(() if sys.platform == "win32" else ("uvloop",)))
"""The packages of every image. The runtime is slower without uvloop, but works."""
_ANY_VERSION = ("werkzeug",)
"""Drivers of raw HTTP need these, in any version, since many drivers pin their own."""


def pinned_packages() -> list[str]:
    """Return the requirements of the runtime, in the versions that are installed here."""
    from importlib.metadata import version  # not needed to copy the runtime, which the start of a service does first

    return [*(f"{name}=={version(name)}" for name in RUNTIME_PACKAGES), *_ANY_VERSION]


def copy_runtime(folder: Path) -> None:
    """Copy the runtime to a folder for `PYTHONPATH`, without the rest of the installed package.

    Includes the byte code, which depends on the modification times of the sources.
    """
    source = Path(__file__).parents[1]
    target = folder / source.name
    target.mkdir(parents=True)
    shutil.copy2(source / "__init__.py", target)
    shutil.copytree(source / "scoring", target / "scoring")
