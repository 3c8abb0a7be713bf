"""The part of `azureml.core` that drivers use: models by name, and a run outside of experiments."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlmgmt_nb.scoring.application.model_files import find_model, read_config
from mlmgmt_nb.scoring.compat.unavailable import NotAvailableError

__all__ = ["VERSION", "Model", "Run", "get_local_path", "get_model_path"]

VERSION = "0+mlmgmt"
"""The version of the SDK, for drivers that print it; it is not installed."""

_log = logging.getLogger("azureml")


def get_model_path(model_name: str, version: int | None = None, *_workspace: Any, **_more: Any) -> str:
    """Return the path of a model of this image.

    Args:
        model_name: its registered name.
        version: its version; None is the newest.

    Raises:
        ModelNotFoundError: the model is not in the image.
    """
    return find_model(model_name, version)


def get_local_path(link: str, *_more: Any) -> str:
    """Return the path of the file that the Workbench of 2017 replaced by a `.link` file."""
    return link.removesuffix(".link")


class _NeedsWorkspace(type):
    """A base whose unknown attributes, which need a workspace, raise with advice."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotAvailableError(f"{cls.__name__}.{name}")


class Model(metaclass=_NeedsWorkspace):
    """A model of this image.

    Args:
        workspace: not used.
        name: its registered name.
        id: `NAME:VERSION`, instead of the name.
        version: its version; None is the newest.

    Raises:
        ModelNotFoundError: the model is not in the image.
    """

    def __init__(
        self,
        workspace: object = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - its name in the SDK
        version: int | None = None,
        **_more: Any,
    ) -> None:
        if id is not None:
            name, _, after = id.partition(":")
            version = int(after) if after else version
        self.name = name or ""
        self.path = find_model(self.name, version)
        noted = read_config(Path()).get("models", {}).get(self.name, {})
        self.version = version if version is not None else noted.get("version")
        self.id = f"{self.name}:{self.version}"
        self.tags: Mapping[str, str] = {}
        self.properties: Mapping[str, str] = {}
        self.workspace, self.url, self.description = workspace, Path(self.path).as_uri(), ""

    get_model_path = staticmethod(get_model_path)

    def download(self, target_dir: str = ".", exist_ok: bool = False, **_more: Any) -> str:
        """Return the path of the model, which is in the image. A copy is made only for another folder."""
        target = Path(target_dir)
        if target.resolve() == Path().resolve():
            return self.path
        target.mkdir(parents=True, exist_ok=True)
        place, source = target / Path(self.path).name, Path(self.path)
        if place.exists() and not exist_ok:
            raise FileExistsError(f"{place} exists. Use exist_ok=True")
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=exist_ok)
        else:
            shutil.copyfile(source, place)
        return str(place)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotAvailableError(f"Model.{name}")


class Run(metaclass=_NeedsWorkspace):
    """A run without experiment, as `Run.get_context()` returns outside of training: it writes to the log."""

    id = "OfflineRun"
    tags: Mapping[str, str] = {}
    properties: Mapping[str, str] = {}

    @classmethod
    def get_context(cls, allow_offline: bool = True, **_more: Any) -> Run:
        """Return this run."""
        if not allow_offline:
            raise NotAvailableError("Run.get_context(allow_offline=False)")
        return cls()

    def log(self, name: str, value: Any = None, *_more: Any, **_named: Any) -> None:
        """Write a value to the log of the service."""
        _log.info("%s: %s", name, value)

    log_list = log_row = log_table = log_image = log_confusion_matrix = log_predictions = log_residuals = log
    tag = set_tags = add_properties = log

    def flush(self, *_arguments: Any, **_named: Any) -> None:
        """Do nothing: nothing is buffered."""

    complete = fail = cancel = flush

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotAvailableError(f"Run.{name}")
