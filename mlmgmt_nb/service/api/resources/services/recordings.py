"""The recorded requests of a service: read them, remove them."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mlmgmt_nb.contract.recording import Recording
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.services.rows import service_of
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import Problem, bad_field

__all__ = ["read", "remove"]

log = logging.getLogger(__name__)

_MOST = 100_000


def read(call: Call) -> Reply:
    """Return the newest recorded requests of a service, oldest first.

    `last` in the query is their number (default: 100); `value` has the requests, with their bodies in Base64. It may
    have fewer than exist, because a response is bounded: then `hasMore` is true, and the time and the id of the first
    request, as `before` and `beforeId` in the query, return those before it.
    """
    last, before = _last(call), _before(call)
    with call.backend.store.reading() as db:
        row = service_of(db, call)
    recording = row.spec.recording or Recording()
    with _storage(row.name):
        before_id = call.query.get("beforeId", "")
        return Reply(200, call.backend.recordings.read(row.id, last, recording.age, before, before_id))


def remove(call: Call) -> Reply:
    """Remove the requests that were recorded so far. The settings stay."""
    with call.backend.store.reading() as db:
        row = service_of(db, call)
    with _storage(row.name):
        call.backend.recordings.clear(row.id)
    return Reply(204)


@contextmanager
def _storage(name: str) -> Iterator[None]:
    """Turn errors of the storage into a problem that does not contain its address.

    Raises:
        Problem: 502.
    """
    try:
        yield
    except OSError as error:
        log.warning("cannot read or remove the recorded requests of %s", name, exc_info=error)
        raise Problem(
            502,
            "RequestsUnreachable",
            "The storage of the recorded requests does not respond. Check MLMGMT_RECORDING_STORAGE; the log of the "
            "Model Management service has the cause.",
        ) from error


def _last(call: Call) -> int:
    given = call.query.get("last", "100")
    if not given.isdecimal() or not 0 < int(given) <= _MOST:
        raise bad_field("last", f"is {given!r}; give a number from 1 to {_MOST}.")
    return int(given)


def _before(call: Call) -> float | None:
    given = call.query.get("before")
    if given is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(given)
    except ValueError:
        raise bad_field("before", f"is {given!r}; give a time such as 2026-01-31T12:00:00Z.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
