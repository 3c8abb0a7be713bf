"""The parts of the runtime that an image needs: the runtime's own files, and the packages that it imports."""

from __future__ import annotations

import importlib.metadata
import os
import stat
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
    return [*(f"{name}=={importlib.metadata.version(name)}" for name in RUNTIME_PACKAGES), *_ANY_VERSION]


def copy_runtime(folder: Path) -> None:
    """Copy the runtime to a folder for `PYTHONPATH`, without the rest of the installed package.

    Includes the byte code, which depends on the modification times of the sources.
    """
    source = Path(__file__).parents[1]
    target = folder / source.name
    target.mkdir(parents=True)
    _copy_file(source / "__init__.py", target / "__init__.py")
    _copy_folder(source / "scoring", target / "scoring")


def _copy_folder(source: str | Path, target: str | Path) -> None:
    """Copy a folder of small files, faster than `shutil.copytree`."""
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            copy = _copy_folder if entry.is_dir() else _copy_file
            copy(entry.path, os.path.join(target, entry.name))
    os.chmod(target, stat.S_IMODE(os.stat(source).st_mode))


def _copy_file(source: str | Path, target: str | Path) -> None:
    """Copy the content, the mode and the times of a file."""
    with open(source, "rb", buffering=0) as original, open(target, "xb", buffering=0) as copy:
        found = os.fstat(original.fileno())
        copy.write(original.read())
    os.chmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
