"""The audit log of an account. The API of 2017 does not have one; the embedded service does."""

from __future__ import annotations

from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.contract.extensions import AUDIT_LIST, AuditEntry

__all__ = ["Audit", "AuditEntry"]


class Audit:
    """The audit log of the account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        principal_id: str | None = None,
        resource_id: str | None = None,
        action: str | None = None,
        count: int = PAGE_SIZE,
    ) -> Pager[AuditEntry]:
        """Return the entries that match every filter given, newest first.

        Args:
            principal_id: id of the caller.
            resource_id: id of the resource.
            action: the action, such as `models_register`.
            count: maximum number of entries per page.
        """
        filters = {"principalId": principal_id, "resourceId": resource_id, "action": action}
        return Pager(self._transport, AUDIT_LIST, AuditEntry, filters, count)
