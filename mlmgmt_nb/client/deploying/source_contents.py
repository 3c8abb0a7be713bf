"""The contents of a source, as far as they are known before its image is built. Nothing is sent."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from mlmgmt_nb.client.applications.application import DRIVER, Application
from mlmgmt_nb.client.changes.contents import Contents
from mlmgmt_nb.client.http.files import is_url
from mlmgmt_nb.contract import Model
from mlmgmt_nb.contract.contents import ContentFile

__all__ = ["source_contents"]

_UNRESOLVED = "The versions of packages are decided when the image is built; requirements are compared."
_UNKNOWN = "The requirements are in a conda file or at a URL, and are not compared."


def source_contents(name: str, models: Sequence[Model], application: Application) -> Contents:
    """Return the contents of a source.

    Args:
        name: name of the service.
        models: its models; those that are not registered have no id.
        application: its driver and files.
    """
    paths: dict[str, str] = {}
    files: dict[str, ContentFile] = {}
    notes: list[str] = []
    for field, path, source in application.files():
        paths.setdefault(field, path)
        if is_url(source):
            notes.append(f"{path} is at a URL, and is not compared.")
        else:
            files[path] = ContentFile.of(path, Path(source).expanduser())
    requested = application.requested()
    notes += [_UNKNOWN] if requested is None else [_UNRESOLVED] if requested else []
    return Contents(
        name=f"new source of {name}",
        models=models,
        driver=paths[DRIVER],
        schema=paths.get("schema"),
        files=files,
        requested=requested,
        python=platform.python_version() if application.from_kernel else None,
        notes=notes,
    )
