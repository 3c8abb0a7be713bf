"""The source of a deployment: models, and the files of a driver or the options for packaging a model without a
driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlmgmt_nb.client.applications.application import Application, Source
from mlmgmt_nb.client.deploying.packaged_models import PackageOptions
from mlmgmt_nb.contract import Model

__all__ = ["DeploySource", "ModelSource"]

ModelSource = Model | Source
"""A registered model, its id or name; or a path or URL to register."""


@dataclass(frozen=True, kw_only=True)
class DeploySource:
    """The models and files of a deployment. See `Workspace.deploy` for the fields that have the names of its arguments.

    Attributes:
        models: registered models, their ids or names, or files, folders and URLs to register. Without a driver, one
            object, function, or model file to package.
        packaging: options for packaging the model without a driver.
        model_name, model_description, tags: properties of the models that are registered.
        new_version: whether to make versions of models and manifest even if the latest have the same content.
    """

    models: Sequence[Any] = ()
    driver: Source | None = None
    schema: Source | None = None
    requirements: Source | Sequence[str] | None = None
    conda: Source | None = None
    dependencies: Sequence[Source] = ()
    runtime: str = "python"
    any_python: bool = False
    packaging: PackageOptions = field(default_factory=PackageOptions)
    model_name: str | None = None
    model_description: str | None = None
    tags: Sequence[str] | None = None
    new_version: bool = False

    @property
    def application(self) -> Application:
        """The files of the driver and their environment."""
        return Application(
            driver=self.driver or "",
            schema=self.schema,
            requirements=self.requirements,
            conda=self.conda,
            dependencies=self.dependencies,
            runtime=self.runtime,
            any_python=self.any_python,
        )
