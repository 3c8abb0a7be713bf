"""The contents of a built image, read from its build context."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mlmgmt_nb.contract.contents import TEXT_BYTES, ContentFile, ImageContents
from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.model_layout import MODELS_FOLDER
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE, Lock

__all__ = ["contents_of"]

_ALL_TEXT_BYTES = 4 * 2**20
_OWN_FILES = frozenset({"mlmgmt-app.json", "model_config_map.json"})


def contents_of(context: Path, interpreter: str | None) -> ImageContents:
    """Return the contents of an image.

    Args:
        context: folder of the build context.
        interpreter: the Python that runs the driver on compute `local`.

    Raises:
        BuildError: the record of the Docker image cannot be read.
    """
    app = context / "app"
    roles = msgspec.json.decode((app / "mlmgmt-app.json").read_bytes(), type=dict[str, str | None])
    lock, built = context / LOCK_FILE, BuiltImage.of(context)
    return ImageContents(
        driver=roles.get("driver") or "",
        schema=roles.get("schema"),
        files=_files(app, context / "environment.yml"),
        packages=_packages(Lock(lock.read_text(encoding="utf-8"))) if lock.is_file() else None,
        python=None if interpreter is None else _python(interpreter),
        base=None if built is None else built.base,
    )


def _packages(lock: Lock) -> dict[str, str]:
    return {
        package["name"]: package.get("version") or package.get("vcs", {}).get("commit-id", "unknown")
        for package in lock.packages
    }


def _python(interpreter: str) -> str | None:
    """Return the version of a Python; None if it does not run."""
    if interpreter == sys.executable:
        return platform.python_version()
    try:
        done = subprocess.run([interpreter, "-V"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().removeprefix("Python ")


def _files(app: Path, environment: Path) -> list[ContentFile]:
    """Return the files beside the driver, with text up to a limit, and the conda environment file."""
    files, left = [], _ALL_TEXT_BYTES
    found = list(_application_files(app))
    if environment.is_file():
        found.append((environment.name, environment))
    for name, path in found:
        file = ContentFile.of(name, path, min(left, TEXT_BYTES))
        left -= 0 if file.text is None else file.size
        files.append(file)
    return files


def _application_files(app: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files that do not belong to models, each with its relative path."""
    models = {path.resolve() for path in (app / MODELS_FOLDER).rglob("*")}
    for folder, folders, names in os.walk(app):
        skipped = {app / MODELS_FOLDER, Path(folder, "__pycache__")}
        folders[:] = sorted(name for name in folders if Path(folder, name) not in skipped)
        for path in (Path(folder, name) for name in sorted(names)):
            name = path.relative_to(app).as_posix()
            if name not in _OWN_FILES and path.is_file() and path.resolve() not in models:
                yield name, path
