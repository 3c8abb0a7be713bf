"""Finding services: by id, by name, and in lists."""

from __future__ import annotations

from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.missing import not_found
from mlmgmt_nb.contract import OPERATIONS, ServiceResponse
from mlmgmt_nb.contract.extensions import SERVICES_LIST, Service
from mlmgmt_nb.errors import NotFoundError

__all__ = ["ServiceLookup"]


class ServiceLookup:
    """Find services, and resolve an argument that is an id, a name or a `Service`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, service: ServiceResponse | str) -> Service:
        """Return a service as it is now.

        Args:
            service: its id or name, or an earlier state of it.

        Raises:
            NotFoundError: it does not exist.
        """
        id_or_name = (service.id or "") if isinstance(service, ServiceResponse) else service
        if not is_uuid(id_or_name):
            found = self.find(id_or_name)
            if found is not None:
                return found
        try:
            return self._get(id_or_name)
        except NotFoundError as error:
            raise not_found("service", id_or_name, error, self.list()) from error

    def find(self, name: str) -> Service | None:
        """Return the service of this name, or None."""
        return next((service for service in self.list(service_name=name) if service.name == name), None)

    def list(
        self,
        *,
        service_name: str | None = None,
        model_id: str | None = None,
        model_name: str | None = None,
        manifest_id: str | None = None,
        manifest_name: str | None = None,
        image_id: str | None = None,
        compute_resource_id: str | None = None,
        count: int = PAGE_SIZE,
    ) -> Pager[Service]:
        """Return the services that match every filter given, newest first.

        Args:
            service_name: the service of this name.
            model_id, model_name: services with this model, or with a model of this name.
            manifest_id, manifest_name: services of this manifest, or of manifests of this name.
            image_id: services of this image.
            compute_resource_id: services on this compute.
            count: maximum number of services per page.
        """
        query = {
            "serviceName": service_name,
            "modelId": model_id,
            "modelName": model_name,
            "manifestId": manifest_id,
            "manifestName": manifest_name,
            "imageId": image_id,
            "computeResourceId": compute_resource_id,
        }
        return Pager(self._transport, SERVICES_LIST, Service, query, count)

    def id_of(self, service: ServiceResponse | str) -> str:
        """Return the id of a service that is given as such, by its id or by its name."""
        if isinstance(service, ServiceResponse):
            return service.id or ""
        return service if is_uuid(service) else self.get(service).id or ""

    def _get(self, service_id: str) -> Service:
        return decode(self._transport.call("services_get", id=service_id), Service)

    def _path(self, service: ServiceResponse | str) -> str:
        return OPERATIONS["services_get"].url("", id=self.id_of(service))
