"""From models and files to a running service: the one flow that `Workspace.deploy`, the commands and the panel use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from mlmgmt_nb.client.bodies import ServiceSettings
from mlmgmt_nb.client.changes.contents import changed_settings
from mlmgmt_nb.client.deploying.account import Account
from mlmgmt_nb.client.deploying.made_versions import MadeVersions
from mlmgmt_nb.client.deploying.packaged_models import check_not_packaged, check_packageable
from mlmgmt_nb.client.deploying.preparation import SourcePreparation
from mlmgmt_nb.client.deploying.progress import DeployEvents, DeployProgress
from mlmgmt_nb.client.deploying.source_contents import source_contents
from mlmgmt_nb.client.deploying.sources import DeploySource
from mlmgmt_nb.client.deploying.verification import Verification
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.contract import Image, Manifest
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.client.changes.difference import Difference

__all__ = ["BuiltImage", "DeployFlow", "IfExists"]

IfExists = Literal["update", "reuse", "fail"]
"""What happens to an existing service of the name."""

T = TypeVar("T")


class BuiltImage(NamedTuple):
    """An image to run, and how to verify the service that runs it."""

    image: Image | str | None
    verification: Verification | None = None


class DeployFlow:
    """The steps from models and files to a manifest, an image or a service. Each checks its input before it sends
    anything.

    If a step fails, the versions that this flow made are withdrawn, unless something else already uses them.

    Args:
        account: the account.
        name: name of the service, its image and manifest.
        compute_resource_id: compute to build the image for and run the service on; None if only a manifest is made.
        description: description of the manifest and image.
        events: callbacks.
        timeout: maximum number of seconds for all waits together (default: unlimited).
    """

    def __init__(
        self,
        account: Account,
        name: str,
        *,
        compute_resource_id: str | None,
        description: str | None = None,
        events: DeployEvents | None = None,
        timeout: float | None = None,
    ) -> None:
        self._account = account
        self._name = name
        self._compute = compute_resource_id
        self._description = description
        self._made = MadeVersions(account)
        self._progress = DeployProgress(events or DeployEvents(), timeout)
        self._sources = SourcePreparation(account, name, compute_resource_id, description, self._made, self._progress)

    def run(self, source: DeploySource, settings: ServiceSettings, *, if_exists: IfExists) -> Service:
        """Deploy, and return the service when it runs. The arguments are those of `Workspace.deploy`."""
        self._check_settings(settings, if_exists)
        self.check(source)
        self._check_server(settings)
        existing = self._existing(if_exists)
        if existing is not None and if_exists == "reuse":
            return existing
        built = self._build(source)
        return self._step_of("service", lambda: self.start(built, settings, existing))

    def check(self, source: DeploySource) -> None:
        """Check a source, as far as possible on this machine. Nothing is sent.

        Raises:
            UsageError: something is wrong with the model, driver, files or options.
        """
        models = source.models
        if source.driver is None:
            check_packageable(models[0] if len(models) == 1 else (list(models) or None), source.schema, source.runtime)
            return
        check_not_packaged(source.packaging)
        if source.model_name is not None and len(models) != 1:
            raise UsageError("model_name: needs exactly one model to name", field="model_name")
        self._account.manifests.check(source.application, self._compute)

    def existing(self, settings: ServiceSettings, if_exists: IfExists) -> Service | None:
        """Check the settings, and return the existing service of the name, or None.

        Raises:
            UsageError: a setting is not valid, or the server does not support it.
            ConflictError: the service exists, and `if_exists` is `fail`.
        """
        self._check_settings(settings, if_exists)
        self._check_server(settings)
        return self._existing(if_exists)

    def _check_settings(self, settings: ServiceSettings, if_exists: str) -> None:
        if if_exists not in {"update", "reuse", "fail"}:
            raise UsageError(
                f"if_exists: {if_exists!r} is unknown", field="if_exists", fix="Give 'update', 'reuse' or 'fail'."
            )
        self._account.services.check(self._name, compute_resource_id=self._compute or "local", **settings)

    def _check_server(self, settings: ServiceSettings) -> None:
        self._account.services.check_server(compute_resource_id=self._compute or "local", **settings)

    def _existing(self, if_exists: str) -> Service | None:
        existing = self._account.services.find(self._name)
        if existing is not None and if_exists == "fail":
            raise ConflictError(
                f"service {self._name!r} already exists",
                status_code=409,
                code="Conflict",
                fix="Give another name, or `if_exists='update'`.",
            )
        return existing

    def manifest(self, source: DeploySource) -> Manifest:
        """Register the models, then the manifest."""
        self.check(source)
        with self._made.withdrawn_on_failure(), self._sources.prepared(source) as prepared:
            return self._sources.register(prepared)

    def diff(self, source: DeploySource, settings: ServiceSettings) -> Difference:
        """Return how a deployment would change the service. Nothing is sent.

        Raises:
            NotFoundError: the service does not exist.
        """
        from mlmgmt_nb.client.changes.difference import compare  # not needed to deploy

        self._check_settings(settings, "update")
        self.check(source)
        old = self._account.services.contents(self._account.services.get(self._name))
        with self._sources.prepared(source) as prepared:
            new = source_contents(self._name, self._sources.preview(prepared), prepared.application)
        return compare(old, replace(new, settings=changed_settings(old.settings or {}, settings)))

    def start_build(self, source: DeploySource | Manifest) -> Poller[Image]:
        """Start the build of an image from a manifest, which is registered first unless it is given."""
        self._check_server({})
        manifest = source if isinstance(source, Manifest) else self.manifest(source)
        with self._made.withdrawn_on_failure():
            return self._start_build(manifest, self._description)

    def build(self, source: DeploySource) -> BuiltImage:
        """Register the models and the manifest, and build the image; return when it is built."""
        self.check(source)
        self._check_server({})
        return self._build(source)

    def _build(self, source: DeploySource) -> BuiltImage:
        with self._made.withdrawn_on_failure():
            with self._sources.prepared(source, self._prepare_replica) as prepared:
                manifest = self._sources.register(prepared)
            image = self._step_of("image", lambda: self._start_build(manifest, prepared.description))
        return BuiltImage(self._made.add(image), prepared.verification)

    def start(self, built: BuiltImage, settings: ServiceSettings, existing: Service | None) -> Poller[Service]:
        """Start the service, or update the existing one. `result` of the poller also verifies a packaged model."""
        services, image = self._account.services, built.image
        with self._made.withdrawn_on_failure():
            if existing is None:
                assert image is not None
                starting = services.create(self._name, image, compute_resource_id=self._compute, **settings)
            else:
                starting = services.update(existing, image=image, **settings)
        verification, connect = built.verification, self._account.connect_arguments
        return self._followed(starting, verification.of(services, existing, connect) if verification else None)

    def check_change(self, settings: ServiceSettings) -> None:
        """Check the settings of a proposed change.

        Raises:
            UsageError: a setting is not valid, or the server does not support it, or candidates.
        """
        self._check_settings(settings, "update")
        self._check_server(settings)
        self._account.services.check_candidates()

    def propose(self, built: BuiltImage, settings: ServiceSettings, service: Service) -> Poller[ProposedChange]:
        """Start a candidate of a service. `result` of the poller also verifies a packaged model."""
        services = self._account.services
        with self._made.withdrawn_on_failure():
            starting = services.start_candidate(service, image=built.image, **settings)
        verification = built.verification
        return self._followed(starting, verification.of_candidate(services) if verification else None)

    def _followed(self, starting: Poller[T], check: Callable[[T], T] | None) -> Poller[T]:
        """Return the poller that also verifies its result, and withdraws what this flow made if it fails."""
        self._made.hand_over(starting.operation_id)
        return (starting if check is None else starting.verified(check)).undone(self._made.withdraw)

    def _step_of(self, name: str, start: Callable[[], Poller[T]]) -> T:
        """Return the result of a step that is an operation."""
        return self._progress.step(name, lambda: self._progress.result(start()))

    @property
    def seconds_left(self) -> float | None:
        """The seconds until the time limit of all waits; None if there is none."""
        return self._progress.seconds_left

    def _prepare_replica(self, modules: Collection[str]) -> None:
        """Let the service import the modules of a driver while the package is verified here, or models are uploaded."""
        self._account.services.prepare(self._name, modules, compute_resource_id=self._compute)

    def _start_build(self, manifest: Manifest, description: str | None) -> Poller[Image]:
        building = self._account.images.create(
            self._name, manifest, compute_resource_id=self._compute, description=description
        )
        self._made.hand_over(building.operation_id, builds=True)
        return building.undone(self._made.withdraw)
