"""The audit log of an account. The API of 2017 does not have one; the embedded service does."""

from __future__ import annotations

import datetime as dt

import msgspec

from mlmgmt_nb.client.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.transport import Transport
from mlmgmt_nb.contract import Operation
from mlmgmt_nb.contract.operations import Answer

__all__ = ["Audit", "AuditEntry"]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who did what, when, to which resource, and how that ended.

    Attributes:
        action: id of the operation of the API, or method and path of what the API does not have.
        resource_id: of what; of what was made, for a request that makes something.
        operation_id: the operation that went on with it.
        status_code, code: how it was answered; the code of the error, if it was one.
        not_recorded: refused requests that were not recorded since the one before, because there were too many.
    """

    time: dt.datetime
    action: str
    principal_id: str = ""
    principal_name: str = ""
    address: str = ""
    resource_id: str = ""
    operation_id: str = ""
    status_code: int = 0
    code: str = ""
    request_id: str = ""
    not_recorded: int = 0


class _Page(msgspec.Struct, rename="camel"):
    value: list[AuditEntry] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


_LIST = Operation(
    id="audit_list",
    tag="Audit",
    method="GET",
    path="/audit",
    summary="List the audit log",
    answers={200: Answer("A page.", _Page)},
)


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
        """What was done in the account, newest first; all filters must fit.

        Args:
            principal_id: who did it.
            resource_id: to what.
            action: what, such as `models_register`.
            count: most entries in one page.
        """
        filters = {"principalId": principal_id, "resourceId": resource_id, "action": action}
        return Pager(self._transport, _LIST, AuditEntry, filters, count)
