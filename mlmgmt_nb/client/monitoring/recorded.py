"""Recorded requests of a service, as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.contract.recording import RecordedRequests

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["decoded", "frame_of", "read_recorded"]

_DTYPES = {
    "time": "datetime64[us, UTC]",
    "request_id": "string",
    "deployment_id": "string",
    "status": "int64",
    "seconds": "float64",
    "request": "object",
    "answer": "object",
    "code": "string",
    "redacted": "bool",
}
_BODIES = ("request", "answer")


def read_recorded(transport: Transport, url: str, last: int) -> RecordedRequests:
    """Return the newest recorded requests, oldest first.

    Args:
        transport: sends the requests.
        url: URL of the recorded requests, as `Transport.send` takes it.
        last: maximum number of requests.
    """
    found = decode(transport.send("GET", url, query={"last": str(last)}), RecordedRequests)
    value, has_more = found.value, found.has_more
    while has_more and value and len(value) < last:  # the size of a response is limited
        query = {
            "last": str(last - len(value)),
            "before": value[0].time.isoformat(),
            "beforeId": value[0].request_id,
        }
        older = decode(transport.send("GET", url, query=query), RecordedRequests)
        value, has_more = older.value + value, older.has_more
    return msgspec.structs.replace(found, value=value, has_more=has_more)


def frame_of(found: RecordedRequests) -> pd.DataFrame:
    """Return a row for each request, with the same types for all frames, and the totals in `attrs`."""
    import pandas as pd

    columns: dict[str, Any] = {name: [getattr(one, name) for one in found.value] for name in _DTYPES}
    for name in _BODIES:
        columns[name] = pd.Series([decoded(body) for body in columns[name]], dtype=object)
    frame = pd.DataFrame(columns, columns=list(_DTYPES)).astype(_DTYPES)
    frame.attrs.update(kept=found.kept, dropped=found.dropped, bytes=found.bytes)
    return frame


def decoded(body: bytes | None) -> Any:
    """Return a body as JSON value; as text if it is not JSON, and as bytes if it is not text."""
    if body is None:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body
