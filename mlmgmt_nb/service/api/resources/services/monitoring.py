"""The log and the metrics of a service."""

from __future__ import annotations

from mlmgmt_nb.service.api.app import METRICS, Call
from mlmgmt_nb.service.api.resources.services.rows import service_of
from mlmgmt_nb.service.files.logs import log_reply
from mlmgmt_nb.service.http.messages import Reply

__all__ = ["logs", "metrics"]


def logs(call: Call) -> Reply:
    """Return the service log as text; `Range: bytes=N-` and `bytes=-N` select a part. 416: the part does not exist."""
    with call.backend.store.reading() as db:
        row = service_of(db, call, or_candidate=True)
    return log_reply(call.backend.service_log(row.id), call.request)


def metrics(call: Call) -> Reply:
    """Return requests, failures, latencies and replicas of a service in the Prometheus text format."""
    with call.backend.store.reading() as db:
        row = service_of(db, call, or_candidate=True)
    return Reply(200, call.backend.metrics(call.request, row.id), media_type=METRICS)
