"""The services of an account: create, update and delete them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from mlmgmt_nb.client.bodies import ServiceSettings, check_keywords, checked, settings_fields
from mlmgmt_nb.client.computes import Computes
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.kernel_versions import warn_of_versions
from mlmgmt_nb.client.missing import known_image
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.services.candidates import ServiceCandidates
from mlmgmt_nb.client.services.support import check_rollback, check_variables
from mlmgmt_nb.contract import ComputeResource, Image, ServiceResponse
from mlmgmt_nb.contract.extensions import Service, ServiceCreate, ServiceUpdate
from mlmgmt_nb.errors import NotFoundError

__all__ = ["Services"]


class Services(ServiceCandidates):
    """The services of the account. Where a method takes a service, it takes its id, its name or a `Service`.

    Args:
        compute: the default compute of new services.

    Example:
        >>> service = ws.services.get("iris")
        >>> service.state, service.num_replicas
        ('Succeeded', 1)
        >>> ws.services.keys("iris")
        AuthKeys(primary_key=***, secondary_key=***)
    """

    def __init__(
        self, transport: Transport, operations: Operations, computes: Computes, compute: str = "local"
    ) -> None:
        super().__init__(transport)
        self._computes = computes
        self._compute = compute
        self._operations = operations

    def create(
        self,
        name: str,
        image: Image | str,
        *,
        compute_resource_id: str | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Poller[Service]:
        """Start an image as a web service.

        Args:
            name: its name, unique in the account: 3 to 32 of a-z, 0-9, `-` and `.`.
            image: the image, or its id.
            compute_resource_id: compute to run on (default: that of the `Image`, or that of the workspace if an id is
                given).
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: a property exceeds a limit. Nothing was sent.
            ConflictError: another service has the name.
        """
        check_keywords("create", settings, ServiceSettings.__annotations__)
        of_image = image.compute_resource_id if isinstance(image, Image) else None
        body = _create_request(name, _image_id(image), compute_resource_id or of_image or self._compute, settings)
        check_variables(self._transport, body)
        with known_image(self._transport, body.image_id):
            answer = self._transport.call("services_create", body=body)
        return self._operations.started(answer, self._get)

    def check(self, name: str, *, compute_resource_id: str = "local", **settings: Unpack[ServiceSettings]) -> None:
        """Check the arguments of `create` before an image exists. Nothing is sent.

        Example:
            >>> ws.services.check("iris", num_replicas=-1)
            Traceback (most recent call last):
            ...
            mlmgmt_nb.errors.UsageError: numReplicas: must be at least 0 (given: -1)
            Give a number of at least 0.

        Args:
            name: name of the service.
            compute_resource_id: compute that it would run on.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: a property exceeds a limit.
        """
        _create_request(name, "not known yet", compute_resource_id, settings)

    def check_server(self, *, compute_resource_id: str = "local", **settings: Unpack[ServiceSettings]) -> None:
        """Check that the server has the compute and supports the settings. Only extensions need a request.

        Args:
            compute_resource_id: compute that the service would run on.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: the compute is unknown, or the server does not support environment variables.
        """
        self._computes.check(compute_resource_id)
        check_variables(self._transport, checked(ServiceUpdate, **settings_fields(**settings)))

    def prepare(self, name: str, modules: Iterable[str], *, compute_resource_id: str | None = None) -> None:
        """Let an embedded service import modules in advance for a service that you are about to create, in a process
        that becomes its first replica. Those of an earlier call for the same name are given up. Other servers ignore
        this; failures are ignored too.

        Example:
            >>> ws.services.prepare("iris", ["sklearn.linear_model", "pandas"])

        Args:
            name: name of the service.
            modules: modules of installed packages that its driver imports, in the order of its imports.
            compute_resource_id: compute that it will run on; only `local` prepares (default: that of the workspace).
        """
        self._computes.prepare(compute_resource_id or self._compute, name, modules)

    def update(
        self,
        service: ServiceResponse | str,
        *,
        image: Image | str | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Poller[Service]:
        """Change a service, under the same URL and keys.

        Example:
            >>> changed = ws.services.update("iris", max_concurrent_requests=20).result()
            >>> changed.max_concurrent_requests_per_container
            20

        Args:
            service: the service.
            image: another image, or its id. With an `Image`, a warning says if this kernel has other versions than
                those that its model was packaged with.
            **settings: settings to change, see `ServiceSettings`; the others stay.

        Raises:
            UsageError: a property exceeds a limit. Nothing was sent.
            NotFoundError: the service does not exist.
        """
        check_keywords("update", settings, ServiceSettings.__annotations__)
        body = checked(
            ServiceUpdate,
            image_id=None if image is None else _image_id(image),
            **settings_fields(**settings),
        )
        check_variables(self._transport, body)
        if isinstance(image, Image):
            warn_of_versions(image.manifest)
        with known_image(self._transport, body.image_id):
            answer = self._transport.call("services_update", id=self.id_of(service), body=body)
        return self._operations.started(answer, self._updated)

    def rollback(self, service: ServiceResponse | str, *, reason: str | None = None) -> Poller[Service]:
        """Return a service to the deployment that served before the current one, under the same URL and keys.

        The image and all settings are those of that deployment; secrets keep their current values.

        Example:
            >>> for number in (20, 30):
            ...     changed = ws.services.update("iris", max_concurrent_requests=number).result()
            >>> service = ws.services.rollback("iris", reason="too slow").result()
            >>> changed.max_concurrent_requests_per_container, service.max_concurrent_requests_per_container
            (30, 20)
            >>> service.last_change.change, service.last_change.reason
            ('rollback', 'too slow')

        Args:
            service: the service.
            reason: the reason, for the record of the change.

        Raises:
            UsageError: the server does not support rollbacks.
            ConflictError: no other deployment has served, or another operation is running.
            NotFoundError: the service does not exist.
        """
        service_id = self.id_of(service)
        check_rollback(self._transport)
        query = {} if reason is None else {"reason": reason}
        answer = self._transport.send("POST", f"{self._path(service_id)}/rollback", query=query)
        return self._operations.started(answer, self._updated)

    def delete(self, service: ServiceResponse | str) -> bool:
        """Delete a service. Return False if it did not exist."""
        try:
            service_id = self.id_of(service)
        except NotFoundError:
            return False
        return self._transport.call("services_delete", id=service_id).status_code != 204


def _create_request(
    name: str, image_id: str | None, compute_resource_id: str, settings: ServiceSettings
) -> ServiceCreate:
    return checked(
        ServiceCreate,
        name=name,
        image_id=image_id,
        compute_resource=ComputeResource(id=compute_resource_id, type="Cluster"),
        **settings_fields(**settings),
    )


def _image_id(image: Image | str) -> str | None:
    return image.id if isinstance(image, Image) else image
