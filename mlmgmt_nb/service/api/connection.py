"""An API connection: limits the size of a request head, and the time that a client takes for each step."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlmgmt_nb.scoring.http.protocol import HttpProtocol
from mlmgmt_nb.service.http.body_socket import TAKE_BODY, BodySocket
from mlmgmt_nb.service.http.framing import TARGET
from mlmgmt_nb.service.http.problems import Problem

__all__ = ["ApiConnection"]

_LARGEST_HEAD = 65536
"""Maximum bytes of a head, and of data after it that is not part of a body: trailers and chunk extensions."""
_SECONDS = {"head": 10.0, "body": 60.0, "answer": 60.0, "request": 75.0}
"""Maximum seconds for a head, for the next part of a body or response, and until the first request of a connection."""
_LEAST_BYTES = 32768
"""Bytes of a body or response that count as progress."""
_LARGE_BODY = 2**20
"""Minimum missing bytes of a body for a thread to read it."""
_TOO_LARGE = Problem(
    431, "HeadTooLarge", f"The request line and headers are larger than {_LARGEST_HEAD} bytes; send less."
)
_MALFORMED = Problem(400, "MalformedRequest", "The request is not valid HTTP/1.1; the connection is closed.")


class ApiConnection(HttpProtocol):
    """An API connection. Call `check` about once a second; it costs nothing per request.

    Args:
        hand_over: called before each request with the connection and the data that was read; returns whether it took
            the connection.
        early: data that was read before the connection was returned to this process.
        may_offer: whether the first request may be handed over.
    """

    _step: tuple[Any, ...] = ()
    _since = 0.0
    _progress = 0
    _body_bytes = 0
    _missing = 0
    _taken: BodySocket | None = None
    _bytes_without_body = 0

    def __init__(
        self,
        *args: Any,
        hand_over: Callable[[ApiConnection, bytes], bool] | None = None,
        early: bytes = b"",
        may_offer: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._hand_over = hand_over
        self._early = early
        self._may_offer = may_offer

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._early:
            self.loop.call_soon(self.data_received, b"")

    @property
    def descriptor(self) -> int:
        """Return the descriptor of its socket."""
        return int(self.transport.get_extra_info("socket").fileno())

    def forget(self) -> None:
        """Drop the connection in this process only: a replica has its socket too."""
        self.transport.abort()

    def check(self, now: float, patience: float = math.inf) -> None:
        """Close the connection if its client took too long.

        Args:
            now: monotonic time in seconds.
            patience: maximum seconds for any step.
        """
        step, progress = self._awaited()
        if step != self._step or progress - self._progress >= _LEAST_BYTES:
            self._step, self._progress, self._since = step, progress, now
        elif step and now - self._since > (seconds := min(_SECONDS[step[0]], patience)):
            self._end(step[0], seconds)

    def _end(self, step: str, seconds: float) -> None:
        if step == "answer":
            self.transport.abort()
        elif step == "body":
            message = f"The body did not arrive: less than {_LEAST_BYTES} bytes in {seconds:g} seconds."
            self._refuse(Problem(408, "RequestTimeout", message))
        else:
            self.transport.close()

    def _awaited(self) -> tuple[tuple[Any, ...], int]:
        """Return the step that the connection expects from the client (empty if none), and its progress in bytes."""
        if unsent := self.transport.get_write_buffer_size():
            return ("answer", self.cycle, self.drains), -unsent
        if self._in_head():
            return ("head", self.requests), 0
        if self.cycle is None:
            return ("request",), 0
        if self.cycle.more_body and not (self.flow.read_paused or self.cycle.waiting_for_100_continue):
            return ("body", self.requests), self._body_bytes + (self._taken.received if self._taken else 0)
        return (), 0

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # already refused; the parser has stopped
        if self._early:
            data, self._early = self._early + data, b""
        if self._hand_over is not None and self._is_between():
            if self._may_offer and self._hand_over(self, data):
                return
            self._may_offer = True
        self._bytes_without_body += len(data)
        super().data_received(data)
        if self._bytes_without_body > _LARGEST_HEAD:
            self._refuse(_TOO_LARGE)

    def _is_between(self) -> bool:
        """Return whether the last response has been sent and nothing of the next request has been read."""
        is_idle = self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)
        return is_idle and not (self._in_head() or self.pipeline or self.transport.get_write_buffer_size())

    def send_400_response(self, _msg: str) -> None:
        """Refuse data that the parser rejected."""
        self._refuse(_MALFORMED)

    def _refuse(self, problem: Problem) -> None:
        """Close the connection, with a response unless the client could mistake it for that to an earlier request."""
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

    def _take_body(self) -> BodySocket | None:
        """Return the rest of a large body for a thread to read; None if the connection has to read it itself."""
        cycle = self.cycle
        if self._missing < _LARGE_BODY or cycle.waiting_for_100_continue or self.transport.is_closing():
            return None
        self.transport.pause_reading()
        self.flow.read_paused = False  # as seen by `check`: the client is still expected to send
        early, cycle.body = bytes(cycle.body), bytearray()
        connected = socket.socket(fileno=os.dup(self.descriptor))
        connected.setblocking(False)
        self._taken = BodySocket(connected, early, self._missing, self.transport.is_closing)
        return self._taken

    # callbacks of the parser

    def on_headers_complete(self) -> None:
        self._bytes_without_body = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > _LARGEST_HEAD:
            self._refuse(_TOO_LARGE)
            raise ValueError("the head is too large")
        self.scope["state"][TARGET] = self.url
        self._missing = 0
        if self.parser.get_method() == b"PATCH" and self.scheme == "http":
            self._missing = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
            self.scope["state"][TAKE_BODY] = self._take_body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes_without_body = 0
        self._body_bytes += len(body)
        self._missing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._bytes_without_body = 0
        super().on_message_complete()
