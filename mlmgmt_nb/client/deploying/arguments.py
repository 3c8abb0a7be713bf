"""The arguments of a deployment, as `Workspace.deploy` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from mlmgmt_nb.client.applications.application import Source
from mlmgmt_nb.client.bodies import ServiceSettings
from mlmgmt_nb.client.deploying.packaged_models import TOLERANCE, PackageOptions
from mlmgmt_nb.client.deploying.sources import DeploySource, ModelSource

__all__ = ["DeployArguments", "SourceArguments", "source_of"]


class SourceArguments(TypedDict, total=False):
    """The source of a deployment; see `Workspace.deploy`."""

    driver: Source | None
    model: ModelSource | Sequence[ModelSource] | Any
    schema: Source | None
    requirements: Source | Sequence[str] | None
    conda: Source | None
    dependencies: Sequence[Source]
    runtime: str
    sample: Any
    method: str | None
    example: Any
    tolerance: float
    metadata: Mapping[str, Any] | None
    any_python: bool
    model_name: str | None
    description: str | None
    tags: Sequence[str] | None
    new_version: bool


class DeployArguments(SourceArguments, ServiceSettings, total=False):
    """The source of a deployment and the settings of its service; see `Workspace.deploy`."""


def source_of(arguments: SourceArguments) -> DeploySource:
    """Return the source that the arguments describe."""
    given: dict[str, Any] = dict(arguments)
    model, driver = given.pop("model", None), given.pop("driver", None)
    packaging: PackageOptions = {
        "sample": given.pop("sample", None),
        "method": given.pop("method", None),
        "example": given.pop("example", True),
        "tolerance": given.pop("tolerance", TOLERANCE),
        "metadata": given.pop("metadata", None),
    }
    several = driver is not None and isinstance(model, Sequence) and not isinstance(model, str)
    models: Sequence[Any] = list(model) if several else [] if model is None else [model]
    description = given.pop("description", None)
    return DeploySource(models=models, driver=driver, packaging=packaging, model_description=description, **given)
