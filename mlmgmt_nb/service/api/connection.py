"""An API connection: that of uvicorn, with limits on the size and the duration of a request head."""

from __future__ import annotations

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlmgmt_nb.scoring.http.protocol import HttpProtocol
from mlmgmt_nb.service.http.framing import TARGET
from mlmgmt_nb.service.http.problems import Problem

__all__ = ["ApiConnection"]

_LARGEST_HEAD = 65536
"""Maximum bytes of a head, and of data after it that is not part of a body: trailers and chunk extensions."""
_HEAD_SECONDS = 10.0
"""Maximum seconds for the head of a request."""
_SILENT_SECONDS = 75.0
"""Maximum seconds until the first byte of a new connection: clients open some in advance."""
_TOO_LARGE = Problem(
    431, "HeadTooLarge", f"The request line and headers are larger than {_LARGEST_HEAD} bytes; send less."
)
_MALFORMED = Problem(400, "MalformedRequest", "The request is not valid HTTP/1.1; the connection is closed.")


class ApiConnection(HttpProtocol):
    """An API connection. Call `check` about once a second; it costs nothing per request."""

    _seen: object = None
    _since = 0.0
    _bytes_without_body = 0

    def check(self, now: float) -> None:
        """Close the connection if its client took too long. `now` is monotonic time in seconds."""
        in_head = self._in_head()
        waits_for = self.scope if in_head else "a request" if self.cycle is None else None
        if waits_for is not self._seen:
            self._seen, self._since = waits_for, now
        elif waits_for is not None and now - self._since > (_HEAD_SECONDS if in_head else _SILENT_SECONDS):
            self.transport.close()

    def _in_head(self) -> bool:
        """Return whether a request has begun whose head is incomplete."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # already refused; the parser has stopped
        self._bytes_without_body += len(data)
        super().data_received(data)
        if self._bytes_without_body > _LARGEST_HEAD:
            self._refuse(_TOO_LARGE)

    def send_400_response(self, _msg: str) -> None:
        """Refuse data that the parser rejected."""
        self._refuse(_MALFORMED)

    def _refuse(self, problem: Problem) -> None:
        """Close the connection, with a response unless the client could take it for that of an earlier request."""
        if self.transport.is_closing():
            return
        unanswered = self.cycle is not None and not self.cycle.response_complete
        if not unanswered or (self.cycle.scope is self.scope and not self.cycle.response_started):
            body = msgspec.json.encode(problem.response)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[problem.status] + head + body)
        if unanswered:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    # callbacks of the parser

    def on_headers_complete(self) -> None:
        self._bytes_without_body = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > _LARGEST_HEAD:
            self._refuse(_TOO_LARGE)
            raise ValueError("the head is too large")
        self.scope["state"][TARGET] = self.url
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes_without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bytes_without_body = 0
        super().on_message_complete()
