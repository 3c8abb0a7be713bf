"""From a source to registered versions: look up or package its models, then register them and the manifest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mlmgmt_nb.client.applications.application import Application
from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.deploying.account import Account
from mlmgmt_nb.client.deploying.driver_imports import preloadable_modules
from mlmgmt_nb.client.deploying.made_versions import MadeVersions
from mlmgmt_nb.client.deploying.packaged_models import (
    TOLERANCE,
    PackageOptions,
    application_of,
    local_dependencies,
    packaged,
)
from mlmgmt_nb.client.deploying.progress import DeployProgress
from mlmgmt_nb.client.deploying.sources import DeploySource, ModelSource
from mlmgmt_nb.client.deploying.verification import Verification
from mlmgmt_nb.client.http.files import as_source, check_readable, is_url
from mlmgmt_nb.client.missing import similar_name
from mlmgmt_nb.contract import Manifest, Model
from mlmgmt_nb.errors import NotFoundError, UsageError

__all__ = ["PreparedSource", "SourcePreparation"]


class PreparedSource(NamedTuple):
    """A source whose models were found or packaged, before any file is sent."""

    models: Sequence[Model | str]
    application: Application
    source: DeploySource
    description: str | None
    verification: Verification | None = None


class SourcePreparation:
    """Prepare the sources of one deployment, and register them.

    Args:
        account: the account.
        name: name of the service, for models and manifests without a name of their own.
        compute: compute that the manifest is checked for; None if no image is built.
        description: description of the manifest.
        made: receives the versions that are made.
        progress: reports the steps.
    """

    def __init__(
        self,
        account: Account,
        name: str,
        compute: str | None,
        description: str | None,
        made: MadeVersions,
        progress: DeployProgress,
    ) -> None:
        self._account = account
        self._name = name
        self._compute = compute
        self._description = description
        self._made = made
        self._progress = progress

    @contextmanager
    def prepared(
        self, source: DeploySource, on_modules: Callable[[Collection[str]], None] | None = None
    ) -> Iterator[PreparedSource]:
        """Look up the models. Without a driver, package the model for the block instead.

        Args:
            source: the models and files.
            on_modules: called with the modules that the driver imports; those of a packaged one, before it is verified.

        Raises:
            UsageError: a model is neither a file, nor registered, or cannot be packaged.
        """
        if source.driver is not None:
            models = [self._checked_model(model) for model in source.models]
            if on_modules:  # also without any: those of an earlier deployment are outdated
                on_modules(preloadable_modules(source.application, models))
            yield PreparedSource(models, source.application, source, self._description)
            return
        started = time.perf_counter()
        options: PackageOptions = {**source.packaging, "dependencies": local_dependencies(source.dependencies)}
        with packaged(source.models[0], options, on_modules or (lambda _: None)) as package:
            if self._progress.events.on_package:
                self._progress.events.on_package(package.summary, time.perf_counter() - started)
            application = application_of(package, source)
            self._account.manifests.check(application, self._compute)
            named = DeploySource(
                model_name=source.model_name or self._name,
                model_description=source.model_description or package.description,
                tags=[*package.tags, *(source.tags or ())],
                new_version=source.new_version,
            )
            tolerance = source.packaging.get("tolerance", TOLERANCE)
            verification = Verification(package.request, package.expected, package.proof, tolerance)
            description = self._description or package.description
            yield PreparedSource([str(package.model)], application, named, description, verification)

    def _checked_model(self, model: ModelSource) -> Model | str:
        """Return the registered model, or the readable path or URL to register."""
        if isinstance(model, Model):
            return model
        source = as_source(model, "model")
        if is_url(source):
            return source
        path = Path(source).expanduser()
        if isinstance(model, os.PathLike) or path.exists() or path.is_symlink():
            check_readable(path, "model")
            return source
        try:
            return self._account.models.get(source)
        except NotFoundError as error:
            what = "id" if is_uuid(source) else "name"
            similar = None if is_uuid(source) else similar_name(source, self._account.models.list())
            hint = f"Did you mean {similar!r}? " if similar else ""
            raise UsageError(
                f"model: file not found: {source!r}, and no registered model has this {what}",
                field="model",
                fix=f"{hint}Check the path (it is taken from {Path.cwd()}); "
                "`ws.models.list()` lists the registered models.",
            ) from error

    def register(self, prepared: PreparedSource) -> Manifest:
        """Register the models, then the manifest."""
        models = self._models(prepared) if prepared.models else []
        manifest = self._progress.step(
            "manifest",
            lambda: self._account.manifests.create(
                self._name,
                prepared.application,
                model_ids=[model.id or "" for model in models],
                description=prepared.description,
                new_version=prepared.source.new_version,
                on_reuse=self._reuse,
            ),
        )
        return self._made.add(manifest)

    def _models(self, prepared: PreparedSource) -> list[Model]:
        return self._progress.step(
            "model", lambda: [self._registered(model, prepared.source) for model in prepared.models]
        )

    def _registered(self, model: Model | str, source: DeploySource) -> Model:
        if isinstance(model, Model):
            return model
        progress = self._progress.events.upload_progress
        registered = self._account.models.register(
            model,
            source.model_name,
            tags=source.tags,
            description=source.model_description,
            progress=progress(model) if progress else None,
            new_version=source.new_version,
            on_reuse=self._reuse,
        )
        return self._made.add(registered)

    def preview(self, prepared: PreparedSource) -> list[Model]:
        """Return the models as they would be registered."""
        return [self._previewed(model, prepared.source) for model in prepared.models]

    def _previewed(self, model: Model | str, source: DeploySource) -> Model:
        if isinstance(model, Model):
            return model
        return self._account.models.preview(
            model,
            source.model_name,
            tags=source.tags,
            description=source.model_description,
            new_version=source.new_version,
        )

    def _reuse(self, resource: Model | Manifest) -> None:
        self._made.reuse(resource)
        if self._progress.events.on_reuse:
            self._progress.events.on_reuse(resource)
