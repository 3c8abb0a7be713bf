"""The archives that a build sends to the engine."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from mlmgmt_nb.service.building.archives import add_tree
from mlmgmt_nb.service.building.docker.dockerfile import BUILD_FOLDER, PACKAGES, Recipe
from mlmgmt_nb.service.building.install import EPOCH

__all__ = ["add_parents", "inputs_archive", "spooled"]


def inputs_archive(context: Path, recipe: Recipe) -> bytes:
    buffer = io.BytesIO()
    folder = BUILD_FOLDER.strip("/")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        add_parents(archive, f"{folder}/x", set())
        add_tree(archive, context / PACKAGES, f"{folder}/{PACKAGES}")
        for name in recipe.inputs:
            add_tree(archive, context / name, f"{folder}/{Path(name).name}")
    return buffer.getvalue()


def add_parents(archive: tarfile.TarFile, name: str, made: set[str]) -> None:
    """Add the parent folders of a name, except those added before."""
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if folder not in made:
            made.add(folder)
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, EPOCH
            archive.addfile(entry)


def spooled() -> Any:
    """Return a temporary file for a build context, which may be large."""
    import tempfile

    return tempfile.TemporaryFile()
