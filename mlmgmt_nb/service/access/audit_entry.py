"""The audit entry of a request, collected while the request is handled."""

from __future__ import annotations

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.access.audit_log import AuditLog, Entry
from mlmgmt_nb.service.access.principals import Principal
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply, Request

__all__ = ["AuditContext"]

_READS = frozenset({"services_get_keys"})
"""Reads that are recorded although they change nothing: anyone who reads a secret can use it from then on."""
_REFUSED = frozenset({401, 403})
_MOST_CHARACTERS = 256


class _Created(msgspec.Struct):
    """The id in a response to a request that created something."""

    id: str = ""


resolve(_Created)


class AuditContext:
    """The audit data of one request.

    Attributes:
        principal: the caller, once known.
        account, action, resource_id: as in `Entry`.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.principal: Principal | None = None
        self.account = ""
        self.action = ""
        self.resource_id = ""

    def record(self, audit: AuditLog, reply: Reply) -> None:
        """Record the request, if it is of a recorded kind."""
        reads = self._request.method in {"GET", "HEAD"}
        if reply.status in _REFUSED:
            audit.refused(self._entry(reply))
        elif self.account and (not reads or self.action in _READS):
            audit.add(self._entry(reply))

    def _entry(self, reply: Reply) -> Entry:
        return Entry(
            time=now(),
            principal_id=self.principal.id if self.principal else "",
            principal_name=self.principal.name if self.principal else "",
            address=self._request.address,
            action=self.action or self._request.method,
            account=self.account,
            resource_id=(self.resource_id or _created_id(reply))[:_MOST_CHARACTERS],  # a path may contain anything
            operation_id=reply.headers.get("Operation-Location", "").rpartition("/")[2],
            status_code=reply.status,
            code=reply.code,
            request_id=reply.headers.get("x-ms-request-id", ""),
        )


def _created_id(reply: Reply) -> str:
    try:
        return msgspec.json.decode(reply.body, type=_Created).id
    except (msgspec.DecodeError, msgspec.ValidationError):
        return ""
