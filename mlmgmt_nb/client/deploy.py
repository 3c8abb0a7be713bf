"""Model, manifest, image and service in one call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from mlmgmt_nb.client.applications.application import Application, Source
from mlmgmt_nb.client.bodies import ServiceSettings, is_uuid
from mlmgmt_nb.client.http.files import as_source, check_readable, is_url
from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.services import Services
from mlmgmt_nb.contract import Model
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import ConflictError, NotFoundError, UsageError

__all__ = ["Deploy", "ModelSource"]

ModelSource = Model | Source
"""A registered model, its id or name; or a path or URL that is to be registered."""

T = TypeVar("T")


class Account(Protocol):
    """The resources of a workspace that a deployment is made of."""

    models: Models
    manifests: Manifests
    images: Images
    services: Services


class Deploy:
    """One deployment on its way: checks everything, then sends.

    Args:
        workspace: the account.
        name: of the service, its image and manifest.
        on_step: called with each step's name and seconds when it is done.
        on_operation: called with the poller of the image's build, and with that of the service's start.
        timeout: most seconds for all of it, or None.
    """

    def __init__(
        self,
        workspace: Account,
        name: str,
        *,
        compute_resource_id: str,
        on_step: Callable[[str, float], None] | None,
        on_operation: Callable[[Poller[Any]], None] | None,
        timeout: float | None,
    ) -> None:
        self._workspace = workspace
        self._name = name
        self._compute_resource_id = compute_resource_id
        self._on_step = on_step
        self._on_operation = on_operation
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def run(
        self,
        models: Sequence[ModelSource],
        application: Application,
        settings: ServiceSettings,
        *,
        model_name: str | None,
        description: str | None,
        tags: Sequence[str] | None,
        if_exists: Literal["update", "fail"],
    ) -> Service:
        """Make the service, or updates the one that has the name. The arguments are those of `Workspace.deploy`."""
        self._workspace.manifests.check(application, self._compute_resource_id)
        self._workspace.services.check(self._name, compute_resource_id=self._compute_resource_id, **settings)
        self._workspace.services.check_server(compute_resource_id=self._compute_resource_id, **settings)
        ready = [self._checked_model(model) for model in models]
        existing = self._existing(if_exists)
        workspace, name = self._workspace, self._name

        def registered() -> list[Model]:
            return [
                model
                if isinstance(model, Model)
                else workspace.models.register(model, model_name, tags=tags, description=description)
                for model in ready
            ]

        used = self._step("model", registered)
        model_ids = [model.id or "" for model in used]
        manifest = self._step(
            "manifest",
            lambda: workspace.manifests.create(name, application, model_ids=model_ids, description=description),
        )
        compute = self._compute_resource_id
        building = workspace.images.create(name, manifest, compute_resource_id=compute, description=description)
        image = self._step("image", lambda: self._result(building))

        def served() -> Service:
            if existing is None:
                starting = workspace.services.create(name, image, compute_resource_id=compute, **settings)
            else:
                starting = workspace.services.update(existing, image=image, **settings)
            return self._result(starting)

        return self._step("service", served)

    def _checked_model(self, model: ModelSource) -> Model | str:
        """Return the registered model; or what is to be registered, which can be read."""
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
            return self._workspace.models.get(source)
        except NotFoundError as error:
            what = "id" if is_uuid(source) else "name"
            raise UsageError(
                f"model: file not found: {source!r}, and no registered model has this {what}",
                field="model",
                fix=f"Check the path (it is taken from {Path.cwd()}); `ws.models.list()` gives the registered models.",
            ) from error

    def _existing(self, if_exists: str) -> Service | None:
        if if_exists not in {"update", "fail"}:
            raise UsageError(f"if_exists: {if_exists!r} is unknown", field="if_exists", fix="Give 'update' or 'fail'.")
        existing = self._workspace.services.find(self._name)
        if existing is not None and if_exists == "fail":
            raise ConflictError(
                f"service {self._name!r} already exists",
                status_code=409,
                code="Conflict",
                fix="Give another name, or `if_exists='update'`.",
            )
        return existing

    def _result(self, poller: Poller[T]) -> T:
        if self._on_operation:
            self._on_operation(poller)
        return poller.result(self._left())

    def _step(self, name: str, call: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = call()
        if self._on_step:
            self._on_step(name, time.perf_counter() - started)
        return result

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
