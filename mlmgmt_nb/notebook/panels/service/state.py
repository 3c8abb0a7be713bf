"""State and actions of a `ServicePanel`, without display."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mlmgmt_nb.client import Poller, Workspace
from mlmgmt_nb.client.kernel_versions import version_difference
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.contract import Image, ServiceResponse, ServiceUpdateRequest
from mlmgmt_nb.contract.extensions import DeploymentRecord, Service
from mlmgmt_nb.errors import NotFoundError, UsageError
from mlmgmt_nb.notebook.display.cards import versioned
from mlmgmt_nb.notebook.panels import limits
from mlmgmt_nb.notebook.panels.operation.state import Progress
from mlmgmt_nb.notebook.panels.service.image_choice import ImageChoice, ImageRelation
from mlmgmt_nb.notebook.panels.service.log_tail import LogTail
from mlmgmt_nb.notebook.panels.service.traffic import Traffic

__all__ = ["AUTOSCALER", "ServiceState", "Which", "key_in"]

AUTOSCALER = ("min_replicas", "max_replicas", "target_utilization", "refresh_period_in_seconds")
"""The autoscaler settings in the panel, by their names in the contract."""
Which = Literal["Primary", "Secondary"]
_DEPLOYMENTS, _IMAGES = 20, 50
_BUSY_SECONDS, _LOOK_SECONDS, _SERVICE_SECONDS, _IMAGES_SECONDS = 0.25, 1.0, 2.0, 20.0


class ServiceState:
    """The current state of a service, and the actions of its panel.

    Attributes are replaced, not mutated, so that drawing is safe during a poll. Methods send requests, and raise the
    errors of the client.

    Args:
        workspace: the account.
        service: the service, its id or its name.
        on_change: called, from any thread, when the state of an operation of the service changes.
        clock: monotonic clock, in seconds.

    Attributes:
        service: the service as last read.
        traffic: the recent metrics.
        log: its log.
        deployments: the deployments of the service, newest first.
        images: images that it could run, grouped by their relation to the service, newest first within each group.
        progress: the last operation started here, or None.
        note: the last action, in words.
        versions: the differences between this kernel and the versions that the model was packaged with, or "".
        is_deleted: whether it was deleted, here or elsewhere.
        has_metrics: whether the server supports metrics of services.
    """

    def __init__(
        self,
        workspace: Workspace,
        service: ServiceResponse | str,
        *,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._on_change = on_change
        self._clock = clock
        self._refreshed = clock()
        self._images_found = -math.inf
        self._is_deleting = False
        self._poller: Poller[Service] | None = None
        self._images_by_id: dict[str, Image] = {}
        self.service = service if isinstance(service, ServiceResponse) else workspace.services.get(service)
        self.traffic = Traffic(clock)
        self.log = LogTail(lambda offset, tail: workspace.services.logs(self.service, offset=offset, tail=tail))
        self.deployments: tuple[DeploymentRecord, ...] = ()
        self.images: tuple[Image, ...] = ()
        self._models: dict[str | None, str] = {}
        self.progress: Progress | None = None
        self.note = ""
        self.versions = version_difference(self.service.manifest) or ""
        self.is_deleted = False
        self.has_metrics = True

    @property
    def name(self) -> str:
        return self.service.name or ""

    @property
    def is_autoscaled(self) -> bool:
        scaler = self.service.auto_scaler
        return scaler is not None and bool(scaler.autoscale_enabled)

    @property
    def is_open(self) -> bool:
        """Whether an operation started here is running, or its result has not been read yet."""
        return self._poller is not None

    @property
    def candidate(self) -> str:
        """A summary of the candidate of the service, or ""."""
        candidate = getattr(self.service, "candidate", None)
        return candidate.summary if candidate is not None else ""

    def change(self) -> ProposedChange:
        """Return the proposed change of the service."""
        return self._workspace.services.change(self.service)

    def replicas(self) -> str:
        """Return the ready and the requested number of replicas, as text."""
        metrics = self.traffic.latest
        if metrics is None:
            wanted = self.service.num_replicas
            return "" if wanted is None else f"{wanted} wanted"
        others = [f"{number} {state}" for state, number in metrics.replicas.items() if number and state != "ready"]
        return ", ".join([f"{metrics.ready} of {metrics.wanted} ready", *others])

    def poll(self) -> float | None:
        """Poll the server. Return the seconds until the next poll, or None if the service was deleted."""
        if self.is_deleted:
            return None
        try:
            self._poll()
        except NotFoundError:
            if not self._is_deleting and not self.is_deleted:  # otherwise `delete` writes the note
                self.is_deleted = True
                self.note = f"The service {self.name} no longer exists."
        if self.is_deleted:
            return None
        return _BUSY_SECONDS if self.is_open else _LOOK_SECONDS

    def _poll(self) -> None:
        poller, progress = self._poller, self.progress
        if poller is not None and progress is not None:
            has_ended = poller.done()
            progress.poll()
            if has_ended:
                self.refresh()
                self._poller = None
        if self._clock() - self._refreshed >= _SERVICE_SECONDS or not self.deployments:
            self.refresh()
        if self.has_metrics:
            try:
                self.traffic.add(self._workspace.services.metrics(self.service))
            except NotFoundError:
                self._get()  # raises if the service was deleted; otherwise the server has no metrics
                self.has_metrics = False
        self.log.poll()

    def refresh(self) -> None:
        """Read the service, its deployments if it changed, and periodically the images."""
        before = self.service.updated_at
        self._get()
        self._refreshed = self._clock()
        if not self.deployments or self.service.updated_at != before:
            self.versions = version_difference(self.service.manifest) or ""
            self.deployments = tuple(self._workspace.deployments.list(service=self.service))[:_DEPLOYMENTS]
            self._images_found = -math.inf
        if self._clock() - self._images_found >= _IMAGES_SECONDS:
            self._images_found = self._clock()
            self._find_images()

    def _find_images(self) -> None:
        """Read the images that the service could run, and the images of its deployments."""
        lists = [self._workspace.images.list(count=_IMAGES)]
        if self.service.manifest is not None:
            lists.append(self._workspace.images.list(manifest_name=self.service.manifest.name, count=_IMAGES))
        pages = [next(images.by_page()).value for images in lists]
        found = {image.id or "": image for page in pages for image in page if image.creation_state == "Succeeded"}
        self._images_by_id |= found
        self._find_models()
        self._find_deployed_images()
        newest_first = sorted(found.values(), key=_created, reverse=True)
        self.images = tuple(self.choice.sort_images(newest_first))

    def _find_models(self) -> None:
        """Read the versions of its models. Each version has its own id."""
        names = dict.fromkeys(model.name for model in self.service.models or ())
        pages = [next(self._workspace.models.list(name=name, count=_IMAGES).by_page()).value for name in names]
        known = [*(self.service.models or ()), *(model for page in pages for model in page)]
        self._models = {model.id: versioned(model) for model in known}

    def _find_deployed_images(self) -> None:
        """Read the images of the deployments that the lists lack."""
        for deployment in self.deployments:
            if deployment.image_id and deployment.image_id not in self._images_by_id:
                try:
                    self._images_by_id[deployment.image_id] = self._workspace.images.get(deployment.image_id)
                except NotFoundError:
                    continue

    @property
    def choice(self) -> ImageChoice:
        """The images that it could run, to compare with the current one."""
        ran = {one.image_id for one in self.deployments if one.status in {"Active", "Expired"}}
        return ImageChoice(self.service, ran, self._models)

    def image_name(self, image_id: str | None) -> str:
        """Return the name and version of an image if known, otherwise its id."""
        own = self.service.image
        image = own if own is not None and own.id == image_id else self._images_by_id.get(image_id or "")
        return versioned(image) if image else str(image_id)

    def scale(self, replicas: int | None, name: str = "") -> None:
        """Set a fixed number of replicas.

        Args:
            replicas: the number of replicas.
            name: the name of the service, typed as confirmation; needed for 0.

        Raises:
            UsageError: the number is not valid, or the name does not match.
        """
        _check("num_replicas", replicas, needed=True)
        if replicas == 0:
            self._check_name(name)
        off = {"autoscaler": {"autoscale_enabled": False}} if self.is_autoscaled else {}
        self._change(f"{replicas} replicas", num_replicas=replicas, **off)

    def autoscale(self, **settings: int | None) -> None:
        """Enable the autoscaler, which makes the number of replicas follow the load.

        Args:
            **settings: settings in `AUTOSCALER`; None leaves a setting unchanged.

        Raises:
            UsageError: a setting breaks a limit.
        """
        for name, value in settings.items():
            _check(f"auto_scaler.{name}", value)
        least, most = settings.get("min_replicas"), settings.get("max_replicas")
        if least is not None and most is not None and least > most:
            raise UsageError(
                "the maximum number of replicas is below the minimum",
                field="max_replicas",
                fix=f"Enter at least {least}.",
            )
        given = {name: value for name, value in settings.items() if value is not None}
        self._change("autoscaling", autoscaler={"autoscale_enabled": True, **given})

    def update(self, image_id: str, *, seen: str | None = None, name: str = "") -> None:
        """Update the service to another image, with the same URL and keys.

        Args:
            image_id: the image.
            seen: id of the image that was current when the differences were shown; None to skip the check.
            name: the name of the service, typed as confirmation; needed for an unrelated image.

        Raises:
            UsageError: no image is chosen, the current image is not `seen`, or the name does not match.
        """
        image_id = image_id.strip()
        if not image_id:
            raise UsageError("no image is chosen", field="image", fix="Choose an image.")
        if seen is not None:
            self._get()
            if self.service.image is not None and self.service.image.id != seen:
                raise UsageError(
                    f"{self.name} runs {self.image_name(self.service.image.id)} meanwhile",
                    field="image",
                    fix="Review the differences again, then update.",
                )
        image = self._images_by_id.get(image_id) or self._workspace.images.get(image_id)
        if self.choice.relation(image) is ImageRelation.OTHER:
            self._check_name(name)
        words = [self.image_name(image_id), version_difference(image.manifest)]
        self._change("; ".join(filter(None, words)), image=image_id)

    def roll_back(self, deployment_id: str) -> None:
        """Roll back to the image of an earlier deployment."""
        deployment = next((one for one in self.deployments if one.id == deployment_id), None)
        if deployment is None or not deployment.image_id:
            raise UsageError("the deployment is not known", field="deployment", fix="Choose a deployment of the list.")
        self.update(deployment.image_id)

    def cancel(self) -> None:
        """Cancel the running operation: the service keeps its current deployment."""
        if self._poller is not None:
            self._workspace.operations.cancel(self._poller.operation_id)

    def key(self, which: Which) -> str:
        """Return a key. It is not stored, and the caller must not store it either."""
        keys = self._workspace.services.keys(self.service)
        return (keys.primary_key if which == "Primary" else keys.secondary_key) or ""

    def regenerate(self, which: Which, name: str) -> None:
        """Regenerate a key. The old key stops working.

        Args:
            which: the key.
            name: the name of the service, typed as confirmation.

        Raises:
            UsageError: the name does not match. The key is unchanged.
        """
        self._check_name(name)
        self._workspace.services.regenerate_key(self.service, which)
        self.note = f"The {which.lower()} key was regenerated; the old key is refused."

    def delete(self, name: str) -> None:
        """Delete the service.

        Args:
            name: the name of the service, typed as confirmation.

        Raises:
            UsageError: the name does not match. Nothing was deleted.
        """
        self._check_name(name)
        self._is_deleting = True
        try:
            self._workspace.services.delete(self.service)
            self.note = f"The service {self.name} was deleted."
            self.is_deleted = True
        finally:
            self._is_deleting = False

    def _check_name(self, name: str) -> None:
        """Check the typed name that confirms an irreversible action."""
        if name != self.name:
            raise UsageError(f"{name!r} is not the name of this service", field="name", fix=f"Type {self.name}.")

    def _change(self, what: str, **settings: Any) -> None:
        poller = self._workspace.services.update(self.service, **settings)
        self.progress = Progress(poller, self._clock)
        self._poller = poller
        self.note = f"{self.name}: {what}"
        poller.add_change_callback(lambda _: self._on_change())

    def _get(self) -> None:
        self.service = self._workspace.services.get(self.service.id or "")


def key_in(message: Mapping[str, Any]) -> Which:
    """Return the name of the key in a message of a frontend."""
    return "Secondary" if message.get("which") == "Secondary" else "Primary"


def _created(image: Image) -> float:
    return image.created_time.timestamp() if image.created_time else 0.0


def _check(path: str, value: int | None, *, needed: bool = False) -> None:
    """Check a value against the limits of the contract."""
    field = path.rpartition(".")[2]
    if value is None and needed:
        raise UsageError(f"{field} is missing", field=field, fix=f"Enter {limits.words(ServiceUpdateRequest, path)}.")
    wrong = limits.check(ServiceUpdateRequest, path, value)
    if wrong:
        raise UsageError(f"{field.replace('_', ' ')} is {value!r}", field=field, fix=wrong)
