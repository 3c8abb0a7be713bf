"""An API connection: limits the size of a request head, and the time that a client takes for each step."""

from __future__ import annotations

from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlmgmt_nb.scoring.http.protocol import HttpProtocol
from mlmgmt_nb.service.http.framing import TARGET
from mlmgmt_nb.service.http.problems import Problem

__all__ = ["ApiConnection"]

_LARGEST_HEAD = 65536
"""Maximum bytes of a head, and of data after it that is not part of a body: trailers and chunk extensions."""
_SECONDS = {"head": 10.0, "body": 60.0, "answer": 60.0, "request": 75.0}
"""Maximum seconds for a head, for the next part of a body or answer, and until the first request of a connection."""
_LEAST_BYTES = 32768
"""Bytes of a body or answer that count as progress."""
_TOO_LARGE = Problem(
    431, "HeadTooLarge", f"The request line and headers are larger than {_LARGEST_HEAD} bytes; send less."
)
_TOO_SLOW = Problem(
    408, "RequestTimeout", f"The body did not arrive: less than {_LEAST_BYTES} bytes in {_SECONDS['body']:g} seconds."
)
_MALFORMED = Problem(400, "MalformedRequest", "The request is not valid HTTP/1.1; the connection is closed.")


class ApiConnection(HttpProtocol):
    """An API connection. Call `check` about once a second; it costs nothing per request."""

    _step: tuple[Any, ...] = ()
    _since = 0.0
    _progress = 0
    _body_bytes = 0
    _bytes_without_body = 0

    def check(self, now: float) -> None:
        """Close the connection if its client took too long. `now` is monotonic time in seconds."""
        step, progress = self._awaited()
        if step != self._step or progress - self._progress >= _LEAST_BYTES:
            self._step, self._progress, self._since = step, progress, now
        elif step and now - self._since > _SECONDS[step[0]]:
            self._end(step[0])

    def _end(self, step: str) -> None:
        if step == "answer":
            self.transport.abort()
        elif step == "body":
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _awaited(self) -> tuple[tuple[Any, ...], int]:
        """Return the step of the client that the connection waits for (empty if none), and its progress in bytes."""
        if unsent := self.transport.get_write_buffer_size():
            return ("answer", self.cycle, self.drains), -unsent
        if self._in_head():
            return ("head", self.requests), 0
        if self.cycle is None:
            return ("request",), 0
        if self.cycle.more_body and not (self.flow.read_paused or self.cycle.waiting_for_100_continue):
            return ("body", self.requests), self._body_bytes
        return (), 0

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
        cycle = self.cycle
        unanswered = cycle is not None and not cycle.response_complete
        is_between = cycle is None or not (unanswered or cycle.more_body)
        if is_between or (cycle.scope is self.scope and not cycle.response_started):
            body = msgspec.json.encode(problem.response)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[problem.status] + head + body)
        if unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
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
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bytes_without_body = 0
        super().on_message_complete()
