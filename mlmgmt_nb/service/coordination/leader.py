"""Requests that only the leader can answer, forwarded to it by the other processes."""

from __future__ import annotations

import http.client
from urllib.parse import quote

from sqlalchemy import select

from mlmgmt_nb import local
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.http.messages import Request
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["ask_leader"]

_PASSED_ON = "x-mlmgmt-passed-on"
"""Header of a request that another process forwarded; it is not forwarded again."""


def ask_leader(store: Store, home: Home, request: Request) -> bytes:
    """Return the body of the leader's response to a GET request that this process admitted.

    Raises:
        Problem: 503, if no leader can be reached.
    """
    if _PASSED_ON in request.headers:
        raise _no_leader()
    with store.reading() as db:
        pid = db.scalar(select(schema.processes.c.pid).where(schema.processes.c.leads))
    endpoint = next((one for one in local.responding(home.path) if one.pid == pid), None)
    if endpoint is None:
        raise _no_leader()
    path = "/" + "/".join(quote(segment, safe="") for segment in request.segments)
    try:
        status, body = local.get(endpoint, path, {_PASSED_ON: "1"})
    except (OSError, http.client.HTTPException):
        raise _no_leader() from None
    if status != 200:
        raise _no_leader()
    return body


def _no_leader() -> Problem:
    return Problem(
        503,
        "NoLeader",
        "The process that runs the services cannot be reached. Try again in a few seconds, when another one leads.",
        headers={"retry-after": "1"},
    )
