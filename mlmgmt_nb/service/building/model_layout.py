"""How models lie in an image: `azureml-models/NAME/VERSION/...`, and in the working directory. Links, no copies.

Everything that is unpacked lies in the folder of its version, as drivers walk through that; the working directory has
the same folders with links to the files. A single file lies in the working directory, and a link leads there.
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
    """Make the folder of a model version."""
    name = quote(model.name, safe=" !#$&'()+,;=@[]{}~^`") if set(model.name) - {"."} else model.name.replace(".", "%2E")
    folder = app / MODELS_FOLDER / name / str(model.version or 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BuildError(
            "SameName", f"The name {MODELS_FOLDER!r} is that of the models' folder; rename yours."
        ) from error
    return folder


def link_file(folder: Path, file: Path) -> None:
    """Put a link to a file into a folder."""
    (folder / file.name).symlink_to(os.path.relpath(file, folder))


def link_tree(source: Path, target: Path, what: str) -> None:
    """Make the folders of `source` in `target`, with a link for each file; a file that is there gives way.

    Raises:
        BuildError: a folder of the one is a file of the other.
    """
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        is_folder = entry.is_dir() and not entry.is_symlink()
        if place.is_dir() != is_folder and (place.exists() or place.is_symlink()):
            raise BuildError(
                "SameName", f"{what}: {entry.name!r} is a file here and a folder there; rename one of them."
            )
        if is_folder:
            place.mkdir(exist_ok=True)
            link_tree(entry, place, what)
        else:
            place.unlink(missing_ok=True)
            place.symlink_to(os.path.relpath(entry, target))


def model_path(app: Path, folder: Path) -> str:
    """Return the path of a version for drivers: its only file or folder, or else its own folder."""
    children = list(folder.iterdir())
    return str((children[0] if len(children) == 1 else folder).relative_to(app))
