"""What the embedded service has beside the API of 2017 and its client asks for in lists: operations, audit entries."""

from __future__ import annotations

import datetime as dt

import msgspec

from mlmgmt_nb.contract.operations import Answer, Operation
from mlmgmt_nb.contract.resources import AsyncOperationStatus

__all__ = ["AUDIT_LIST", "OPERATIONS_LIST", "AuditEntry"]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who did what, when, to which resource, and how that ended.

    Attributes:
        time: when it was answered.
        action: id of the operation of the API, or method and path of what the API does not have.
        principal_id, principal_name: who; empty where nobody was recognized.
        address: from where.
        resource_id: of what; of what was made, for a request that makes something.
        operation_id: the operation that went on with it.
        status_code, code: how it was answered; the code of the error, if it was one.
        request_id: its `x-ms-request-id`.
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


class _AuditPage(msgspec.Struct, rename="camel"):
    value: list[AuditEntry] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


class _OperationPage(msgspec.Struct, rename="camel"):
    value: list[AsyncOperationStatus] = []
    next_link: str | msgspec.UnsetType = msgspec.UNSET


def _list(tag: str, of: str, page: type[msgspec.Struct]) -> Operation:
    path = tag.lower()
    return Operation(
        id=f"{path}_list",
        tag=tag,
        method="GET",
        path=f"/{path}",
        summary=f"List {of}",
        answers={200: Answer("A page.", page)},
    )


OPERATIONS_LIST = _list("Operations", "operations", _OperationPage)
AUDIT_LIST = _list("Audit", "the audit log", _AuditPage)
