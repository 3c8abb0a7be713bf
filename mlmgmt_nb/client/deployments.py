"""Deployments: the images that a service has run, with their times and the records of the changes."""

from __future__ import annotations

from mlmgmt_nb.client.http.paging import Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.services import Services
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.contract.extensions import DEPLOYMENTS_LIST, DeploymentRecord

__all__ = ["Deployments"]


class Deployments:
    """The deployments of the account."""

    def __init__(self, transport: Transport, services: Services) -> None:
        self._transport = transport
        self._services = services

    def get(self, id: str) -> DeploymentRecord:  # noqa: A002 - the API's word
        """Return a deployment by its id.

        Raises:
            NotFoundError: it does not exist.
        """
        return decode(self._transport.call("deployments_get", id=id), DeploymentRecord)

    def list(self, *, service: ServiceResponse | str | None = None) -> Pager[DeploymentRecord]:
        """Return the deployments of the account, or of one service, newest first.

        Args:
            service: the service, or its id or name.
        """
        service_id = None if service is None else self._services.id_of(service)
        return Pager(self._transport, DEPLOYMENTS_LIST, DeploymentRecord, {"serviceId": service_id}, count=None)
