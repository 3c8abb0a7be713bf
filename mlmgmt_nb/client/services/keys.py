"""Keys of services."""

from __future__ import annotations

from typing import Literal

from mlmgmt_nb.client.bodies import checked
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.services.lookup import ServiceLookup
from mlmgmt_nb.contract import AuthKeys, ServiceRegenerateKeyRequest, ServiceResponse

__all__ = ["ServiceKeys"]


class ServiceKeys(ServiceLookup):
    """Read and regenerate the keys of services."""

    def keys(self, service: ServiceResponse | str) -> AuthKeys:
        """Return both keys of a service; `repr` does not show them."""
        return decode(self._transport.call("services_get_keys", id=self.id_of(service)), AuthKeys)

    def regenerate_key(
        self, service: ServiceResponse | str, key_type: Literal["Primary", "Secondary"] = "Primary"
    ) -> AuthKeys:
        """Replace one key of a service immediately, and keep the other. Return both keys.

        Args:
            service: the service.
            key_type: which key.
        """
        service_id = self.id_of(service)
        body = checked(ServiceRegenerateKeyRequest, key_type=key_type)
        answer = self._transport.call("services_regenerate_keys", id=service_id, body=body, accept={404, 405})
        if answer.status_code in {404, 405}:  # a server that has only the path of the 2017 client
            answer = self._transport.call("services_regenerate_keys_alias", id=service_id, body=body)
        return decode(answer, AuthKeys)
