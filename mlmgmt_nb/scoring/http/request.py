"""The parsed head of a request."""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from time import perf_counter
from typing import Any

from mlmgmt_nb.scoring.compat.messages import WholeRequest
from mlmgmt_nb.scoring.driver.results import Outcome

__all__ = ["CALL", "FORWARDED", "Request", "Scope"]

Scope = MutableMapping[str, Any]
_RARE = {
    b"origin": "origin",
    b"content-encoding": "content_encoding",
    b"x-ms-client-request-id": "client_id",
    b"x-request-id": "request_id",
    b"x-mlmgmt-copy": "copy",
}
CALL = "mlmgmt.call"
"""The key of the call in a request's scope."""
FORWARDED = "mlmgmt.forwarded"
"""The key in the scope of a request that came through the front door."""


class Request:
    """The relevant headers of a request, its start time, whether it was admitted, and its future answer."""

    __slots__ = (
        "answer",
        "authorization",
        "began",
        "bytes_in",
        "client_id",
        "content_encoding",
        "content_type",
        "copy",
        "has_body",
        "host",
        "id",
        "id_given",
        "length",
        "origin",
        "request_id",
        "scope",
        "taken",
        "traceparent",
    )

    answer: Awaitable[Outcome]

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.began = perf_counter()
        self.id = ""
        self.authorization = b""
        self.id_given = b""
        self.client_id = b""
        self.request_id = b""
        self.copy = b""
        self.traceparent = b""
        self.host = b""
        self.origin = b""
        self.content_type = b""
        self.content_encoding = b""
        self.length = -1
        self.has_body = False
        self.bytes_in = 0
        self.taken = False
        for name, value in scope["headers"]:
            if name == b"host":
                self.host = b"%b, %b" % (self.host, value) if self.host else value  # a duplicate makes the host invalid
            elif name == b"authorization":
                self.authorization = value
            elif name == b"content-type":
                self.content_type = value
            elif name == b"content-length":
                self.length = int(value)  # uvicorn's parser refused other values already
                self.has_body = self.length > 0
            elif name == b"transfer-encoding":
                self.has_body = True
            elif name == b"traceparent":
                self.traceparent = value
            elif name == b"x-ms-request-id":
                self.id_given = value
            elif name in _RARE:
                self._keep(_RARE[name], value)

    def _keep(self, attribute: str, value: bytes) -> None:
        """Store a header; duplicates are joined, and the result is refused later."""
        before = getattr(self, attribute)
        setattr(self, attribute, b"%b, %b" % (before, value) if before else value)

    def header(self, name: bytes) -> str:
        """Return the value of a header that is rarely needed; empty if it is missing."""
        return next((value.decode("latin1") for given, value in self.scope["headers"] if given == name), "")

    @property
    def run_seconds(self) -> float:
        """Duration of `run` in seconds."""
        call = self.scope.get(CALL)
        return call.seconds if call is not None else 0.0

    def whole(self, body: bytes) -> WholeRequest:
        """Return the whole request, for drivers that ask for it."""
        scope = self.scope
        headers = [(name.decode("latin1"), value.decode("latin1")) for name, value in scope["headers"]]
        ends = scope.get("client"), scope.get("server")
        if FORWARDED in scope and scope.get("client"):
            headers.append(("x-forwarded-for", scope["client"][0]))
        return WholeRequest(scope["method"], scope["path"], scope["query_string"], headers, body, *ends)
