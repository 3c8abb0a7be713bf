"""Errors for a missing resource, with the most similar existing name, and for an unsupported extension."""

from __future__ import annotations

import difflib
from typing import Any

from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.http.paging import Pager
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.errors import MlmgmtError, NotFoundError, UsageError

__all__ = ["check_supported", "not_found"]


def not_found(
    kind: str,
    id_or_name: str,
    answer: NotFoundError | None = None,
    among: Pager[Any] | None = None,
    archived: Pager[Any] | None = None,
) -> NotFoundError:
    """Return the error for a resource that does not exist.

    Args:
        kind: `model`, `manifest`, `image` or `service`.
        id_or_name: its id or name.
        answer: the server's error for the id.
        among: resources of this kind: a similar name on the first page is suggested.
        archived: versions of the name, with archived ones: if there is one, the error says so.
    """
    if archived is not None and _has(id_or_name, archived):
        return NotFoundError(
            f"all versions of {kind} {id_or_name!r} are archived",
            status_code=404,
            code="NotFound",
            fix=f"Give the id of one, or list them again: `ws.{kind}s.unarchive({id_or_name!r})`.",
        )
    is_id = is_uuid(id_or_name) or kind == "image"
    similar = None if is_id or among is None else _similar(id_or_name, among)
    return NotFoundError(
        f"no {kind} has the {'id' if is_id else 'name'} {id_or_name!r}",
        status_code=404,
        fix=(f"Did you mean {similar!r}? " if similar else "") + f"`ws.{kind}s.list()` lists the existing {kind}s.",
        **_request_of(answer),
    )


def _request_of(answer: NotFoundError | None) -> dict[str, Any]:
    """Return the code and the request of the server's error, if there is one."""
    if answer is None:
        return {"code": "NotFound"}
    return {"code": answer.code, "method": answer.method, "url": answer.url, "request_id": answer.request_id}


def check_supported(transport: Transport, extension: str, field: str, what: str, fix: str) -> None:
    """Check that the server supports an extension of the API.

    Args:
        transport: sends the request.
        extension: its name in `GET .../extensions`.
        field, fix: field and fix of the error.
        what: its purpose, in words.

    Raises:
        UsageError: the server does not.
    """
    try:
        supported = transport.send("GET", "/extensions").json()["value"]
    except NotFoundError:
        supported = ()
    if extension not in supported:
        raise UsageError(f"{field}: this server does not support {what}", field=field, fix=fix)


def _has(name: str, among: Pager[Any]) -> bool:
    try:
        return any(resource.name == name for resource in next(among.by_page()).value)
    except MlmgmtError:
        return False  # a hint is not worth another error


def _similar(name: str, among: Pager[Any]) -> str | None:
    try:
        names = {resource.name for resource in next(among.by_page()).value if resource.name}
    except MlmgmtError:
        return None  # a hint is not worth another error
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1)), None)
