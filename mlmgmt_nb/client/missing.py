"""The error for a resource that does not exist, with the closest of the names that do."""

from __future__ import annotations

import difflib
from typing import Any

from mlmgmt_nb.client.bodies import is_uuid
from mlmgmt_nb.client.http.paging import Pager
from mlmgmt_nb.errors import MlmgmtError, NotFoundError

__all__ = ["not_found"]


def not_found(
    kind: str, id_or_name: str, answer: NotFoundError | None = None, among: Pager[Any] | None = None
) -> NotFoundError:
    """Return the error for a resource that does not exist.

    Args:
        kind: `model`, `manifest`, `image` or `service`.
        id_or_name: its id or name.
        answer: the server's error for the id.
        among: resources of this kind: a similar name on the first page is suggested.
    """
    is_id = is_uuid(id_or_name) or kind == "image"
    similar = None if is_id or among is None else _similar(id_or_name, among)
    return NotFoundError(
        f"no {kind} has the {'id' if is_id else 'name'} {id_or_name!r}",
        status_code=404,
        code=answer.code if answer else "NotFound",
        method=answer.method if answer else "",
        url=answer.url if answer else "",
        request_id=answer.request_id if answer else "",
        fix=(f"Did you mean {similar!r}? " if similar else "") + f"`ws.{kind}s.list()` has the existing ones.",
    )


def _similar(name: str, among: Pager[Any]) -> str | None:
    try:
        names = {resource.name for resource in next(among.by_page()).value if resource.name}
    except MlmgmtError:
        return None  # a hint is not worth another error
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1)), None)
