"""Extensions of the embedded service to the API of 2017 that clients read as lists: operations and audit entries."""

from __future__ import annotations

import datetime as dt

import msgspec

from mlmgmt_nb.contract.operations import Answer, Operation
from mlmgmt_nb.contract.resources import AsyncOperationStatus

__all__ = ["AUDIT_LIST", "OPERATIONS_LIST", "AuditEntry"]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who did what, when, to which resource, and with which result.

    Attributes:
        time: time of the response.
        action: id of the API operation; method and path for extensions.
        principal_id, principal_name: the caller; empty if not recognized.
        address: address of the caller.
        resource_id: the resource, or the new resource for a request that creates one.
        operation_id: the asynchronous operation that the request started.
        status_code, code: HTTP status of the response; error code, if it was an error.
        request_id: `x-ms-request-id` of the response.
        not_recorded: number of refused requests that were not recorded since the previous entry because of the limit.
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
