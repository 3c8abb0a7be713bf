"""The layout of models in an image: `azureml-models/NAME/VERSION/...`, and the working directory. Links, not copies.

Unpacked files are in the folder of their version, since drivers walk through it; the working directory has the same
folders with links to the files. A single file is in the working directory, with a link in the folder of its version.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from mlmgmt_nb.contract import Model
from mlmgmt_nb.service.building.errors import BuildError

__all__ = ["MODELS_FOLDER", "link_file", "link_tree", "model_path", "version_folder"]

MODELS_FOLDER = "azureml-models"


def version_folder(app: Path, model: Model) -> Path:
    """Create the folder of a model version."""
    name = quote(model.name, safe=" !#$&'()+,;=@[]{}~^`") if set(model.name) - {"."} else model.name.replace(".", "%2E")
    folder = app / MODELS_FOLDER / name / str(model.version or 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BuildError(
            "SameName", f"The name {MODELS_FOLDER!r} is reserved for the models' folder; rename the model."
        ) from error
    return folder


def link_file(folder: Path, file: Path) -> None:
    """Create a link to a file in a folder."""
    (folder / file.name).symlink_to(os.path.relpath(file, folder))


def link_tree(source: Path, target: Path, what: str) -> None:
    """Create the folders of `source` in `target`, with a link for each file; existing files are replaced.

    Raises:
        BuildError: a path is a folder in one and a file in the other.
    """
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        is_folder = entry.is_dir() and not entry.is_symlink()
        if place.is_dir() != is_folder and (place.exists() or place.is_symlink()):
            raise BuildError(
                "SameName",
                f"{what}: {entry.name!r} is both a file and a folder; rename one of them.",
            )
        if is_folder:
            place.mkdir(exist_ok=True)
            link_tree(entry, place, what)
        else:
            place.unlink(missing_ok=True)
            place.symlink_to(os.path.relpath(entry, target))


def model_path(app: Path, folder: Path) -> str:
    """Return the path of a version for drivers: its only file or folder, or else the folder of the version."""
    children = list(folder.iterdir())
    return str((children[0] if len(children) == 1 else folder).relative_to(app))
