"""The audit log of an account, and the identity of the caller. Extensions."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from mlmgmt_nb.contract.limits import Count
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.paging import Page, page_size
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import invalid

__all__ = ["list_", "whoami"]

_FILTERS = ("principalId", "resourceId", "action")


def list_(call: Call) -> Reply:
    """Return the audit log, newest first, in pages: `time`, `action`, `principalId`, `resourceId`, `statusCode`, ...

    Filter by `principalId`, `resourceId` and `action` in the query; `count` and `$skipToken` are as in other lists.
    """
    count = call.query.get("count")
    try:
        size = page_size(None if count is None else msgspec.convert(count, Count))
    except msgspec.ValidationError as error:
        raise invalid(error, "count") from None
    filters = {name: call.query[name] for name in _FILTERS if name in call.query}
    entries, token = call.backend.audit.page(call.account, filters, size, call.query.get("$skipToken"))
    onward = {**filters, "api-version": call.query.get("api-version", ""), "count": str(size), "$skipToken": token}
    return Reply(200, Page(entries, f"{call.base_url}/audit?{urlencode(onward)}" if token else msgspec.UNSET))


def whoami(call: Call) -> Reply:
    """Return the identity of the caller: `id`, `name`, and the `role` in this `account`."""
    role = call.principal.role(call.account)
    return Reply(
        200,
        {
            "id": call.principal.id,
            "name": call.principal.name,
            "role": role.name.capitalize() if role is not None else None,
            "account": call.account,
        },
    )
