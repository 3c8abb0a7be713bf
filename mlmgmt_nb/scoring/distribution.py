"""The parts of the runtime that an image needs: the runtime's own files, and the packages that it imports."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["REQUIRED_PACKAGES", "RUNTIME_PACKAGES", "copy_runtime", "pinned_packages", "runtime_files"]

REQUIRED_PACKAGES = ("uvicorn", "httptools", "msgspec")
RUNTIME_PACKAGES = (*REQUIRED_PACKAGES, *(() if sys.platform == "win32" else ("uvloop",)))
"""The packages of every image. The runtime is slower without uvloop, but works."""
_SOURCE = Path(__file__).parents[1]
_WRITING = ".pyc."
"""Part of the name of a file with byte code while another process writes it; it is renamed when it is complete."""
_ANY_VERSION = ("werkzeug",)
"""Drivers of raw HTTP need these, in any version, since many drivers pin their own."""


def pinned_packages() -> list[str]:
    """Return the requirements of the runtime, in the versions that are installed here."""
    from importlib.metadata import version  # not needed to copy the runtime, which the start of a service does first

    return [*(f"{name}=={version(name)}" for name in RUNTIME_PACKAGES), *_ANY_VERSION]


def copy_runtime(folder: Path) -> None:
    """Copy the runtime to a folder for `PYTHONPATH`, without the rest of the installed package.

    Includes the byte code, which depends on the modification times of the sources.

    Raises:
        OSError: a file cannot be copied; further ones are not tried.
    """
    target = folder / _SOURCE.name
    target.mkdir(parents=True)
    shutil.copy2(_SOURCE / "__init__.py", target)
    _copy_folder(_SOURCE / "scoring", target / "scoring")


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder. `shutil.copytree` does not stop at a full disk, and its error does not tell that it is full."""
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir():
                _copy_folder(Path(entry.path), target / entry.name)
            elif _WRITING not in entry.name:
                shutil.copy2(entry.path, target / entry.name)


def runtime_files(folder: Path | None = None) -> list[tuple[str, int, int]]:
    """Return the source files of a runtime with their sizes and modification times, which copies share.

    Args:
        folder: the folder of a copy (default: the installed package). A folder without a runtime has no files.
    """
    root = _SOURCE if folder is None else folder / _SOURCE.name
    with contextlib.suppress(OSError):
        return sorted([_identity(root, root / "__init__.py"), *_identities(root, root / "scoring")])
    return []


def _identities(root: Path, folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _identities(root, Path(entry.path))
            elif entry.name.endswith(".py"):
                yield _identity(root, entry)


def _identity(root: Path, file: Path | os.DirEntry[str]) -> tuple[str, int, int]:
    found = file.stat()
    return os.path.relpath(file, root), found.st_size, found.st_mtime_ns
