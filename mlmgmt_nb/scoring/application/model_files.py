"""Find the models of a driver: `azureml-models/NAME/VERSION/...` in the application folder.

The build of an image creates this layout and lists the models in `model_config_map.json`. A folder that is served
by hand may have the same layout, or its model files next to the driver.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb.scoring.application.application import Application
from mlmgmt_nb.scoring.errors import LoadError

__all__ = [
    "CONFIG_FILE",
    "MODELS_FOLDER",
    "ModelNotFoundError",
    "find_model",
    "read_config",
    "recorded_model",
    "set_variables",
]

MODELS_FOLDER = "azureml-models"
CONFIG_FILE = "model_config_map.json"


class _Model(msgspec.Struct):
    versions: dict[str, str] = {}


class _Config(msgspec.Struct, rename="camel"):
    """The parts of the file that are used here; the rest is not checked."""

    models: dict[str, _Model] = {}
    account_context: dict[str, Any] | None = None
    account: dict[str, Any] | None = None


class ModelNotFoundError(Exception):
    """A model with this name and version does not exist."""


def set_variables(application: Application, environment: MutableMapping[str, str]) -> None:
    """Set the variables that tell drivers where their files are, unless they are set already.

    Args:
        application: the application.
        environment: the environment of this process.
    """
    root = application.folder
    environment.setdefault("AML_APP_ROOT", str(root))
    environment.setdefault("AZUREML_ENTRY_SCRIPT", str(application.driver.relative_to(root)))
    environment.setdefault("AZUREML_MODEL_DIR", str(_models_root(root)))


def _models_root(root: Path) -> Path:
    """Return the folder of the only model version, of all models, or, without models, of the application."""
    versions = [path for path in root.glob(f"{MODELS_FOLDER}/*/*") if path.is_dir()]
    if len(versions) == 1:
        return versions[0]
    return root / MODELS_FOLDER if versions else root


def read_config(root: Path) -> dict[str, Any]:
    """Return the models and account that the build recorded; empty for a folder that was not built.

    Raises:
        LoadError: the file is damaged.
    """
    path = root / CONFIG_FILE
    if not path.is_file():
        return {}
    try:
        msgspec.json.decode(path.read_bytes(), type=_Config)
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        fix = "Create the image again, or remove the file from a folder that you serve yourself."
        raise LoadError("ApplicationError", f"{CONFIG_FILE} is damaged: {error}. {fix}") from error


def recorded_model(config: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Return the registered name of a model, and its entry in the configuration; an empty entry if there is none.

    Args:
        config: the content of `model_config_map.json`.
        name: the registered name, or the name of the model's file, under which clients of 2017 registered models.
    """
    models: dict[str, dict[str, Any]] = config.get("models", {})
    files = {Path(model["path"]).name: registered for registered, model in models.items() if "path" in model}
    registered = name if name in models else files.get(name, name)
    return registered, models.get(registered, {})


def find_model(name: str, version: int | str | None = None, root: Path | None = None) -> str:
    """Return the path of a model's file, or of its folder if it has several files.

    Args:
        name: the registered name, or a file next to the driver.
        version: the version of the model; None is the newest.
        root: the application folder; None is the one that is served.

    Raises:
        ModelNotFoundError: the model is missing; the message lists the available ones.
    """
    root = root or Path(os.environ.get("AML_APP_ROOT") or os.curdir)
    versions = _recorded(root, name) or _laid_out(root, name)
    wanted = str(version) if version is not None else max(versions, key=int, default="")
    if wanted in versions:
        return str(root / versions[wanted])
    folders = [root, Path(os.environ.get("AZUREML_MODEL_DIR") or root)]
    beside = [folder / name for folder in folders if (folder / name).exists()]
    if beside and not versions:
        return str(beside[0])
    known = ", ".join(sorted(_names(root))) or "none"
    what = f"version {version} of the model {name!r}" if versions else f"a model {name!r}"
    raise ModelNotFoundError(f"{what} is not in this image. Its models: {known}")


def _recorded(root: Path, name: str) -> dict[str, str]:
    """Return the paths of a model's versions from `model_config_map.json`."""
    model = read_config(root).get("models", {}).get(name, {})
    return dict(model.get("versions", {}))


def _laid_out(root: Path, name: str) -> dict[str, str]:
    """Return the paths of a model's versions from the existing folders."""
    folders = [path for path in (root / MODELS_FOLDER / name).glob("*") if path.name.isdigit()]
    return {folder.name: str(_content(folder).relative_to(root)) for folder in folders}


def _content(folder: Path) -> Path:
    """Return the only file or folder in the folder of a version, or the folder itself."""
    children = list(folder.iterdir())
    return children[0] if len(children) == 1 else folder


def _names(root: Path) -> set[str]:
    return {*read_config(root).get("models", {}), *(path.name for path in root.glob(f"{MODELS_FOLDER}/*"))}
