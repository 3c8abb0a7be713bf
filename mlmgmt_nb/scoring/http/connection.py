"""uvicorn's connection, which also detects callers that hang up and ends connections of slow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.framing import FramingFault, check_framing
from mlmgmt_nb.scoring.http.protocol import HttpProtocol
from mlmgmt_nb.scoring.http.request import Scope

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from mlmgmt_nb.scoring.http.app import ScoringApp

__all__ = ["SILENT_SECONDS", "Connection"]

_LARGEST_HEAD = 65536
"""Maximum bytes without body data: heads, trailers, chunk extensions. One more part may be read."""
_PART = 16384
_LEAST_TAKEN = 32768
"""Bytes of an answer that a caller must receive in each period of `patience`, unless fewer are left."""
SILENT_SECONDS = 75.0
"""How long a connection may stay silent, also a new one: browsers open some in advance."""


class Connection(HttpProtocol):
    """A connection. The application itself handles bodies that do not arrive (`BodyReader`)."""

    app: ScoringApp
    _is_whole = True
    """The parser is between two requests."""
    _bytes_without_body = 0
    _slow: tuple[str, object] | None = None
    _slow_since = 0.0
    _unsent = 0
    leaving = False
    """Each further response ends the connection: its replica no longer accepts connections at this socket."""

    @property
    def port(self) -> int | None:
        """Return the port at which it was accepted."""
        return self.server[1] if self.server else None

    def leave(self) -> None:
        """Let the next response end the connection: that of the current request, or else of the next one."""
        self.leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self.leaving:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            self.app.on_disconnect(cast("Scope", cycle.scope))

    def _feed(self, data: bytes | memoryview) -> None:
        for begin in range(0, len(data), _PART):
            self._bytes_without_body += min(_PART, len(data) - begin)
            super()._feed(memoryview(data)[begin : begin + _PART])
            if self._bytes_without_body > _LARGEST_HEAD:
                self._refuse(431, "HeadTooLarge", f"the head is larger than {_LARGEST_HEAD} bytes: send less")
            if self.transport.is_closing():
                return

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_whole = False

    def on_headers_complete(self) -> None:
        try:
            check_framing(self.headers, self.url, self.parser.get_http_version())
        except FramingFault as fault:
            self._refuse(400, "BadInput", str(fault))
            raise
        super().on_headers_complete()
        self._bytes_without_body = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._bytes_without_body = 0

    def on_request_read(self) -> None:
        self._bytes_without_body = 0
        self._is_whole = True

    def check(self, now: float, patience: float) -> str:
        """End the connection if its caller is too slow. Called about once a second, so requests pay nothing for it.

        Args:
            now: the time of a monotonic clock.
            patience: seconds that the head of a request or a part of an answer may take.

        Returns:
            The reason if the connection was ended; otherwise an empty text.
        """
        state, unsent = self._state(), self.transport.get_write_buffer_size()
        if state != self._slow or self._unsent - unsent >= _LEAST_TAKEN:  # there was progress
            self._slow, self._slow_since, self._unsent = state, now, unsent
        if state is None or now - self._slow_since < (SILENT_SECONDS if state[0] == "silence" else patience):
            return ""
        if state[0] == "answer":
            self.transport.abort()
            return "an answer was not received"
        if state[0] == "head":
            self._refuse(408, "RequestTimeout", f"the head did not arrive within {patience:g} seconds: send it at once")
            return "the head of a request did not arrive"
        self.transport.close()
        return ""

    def _state(self) -> tuple[str, object] | None:
        """Return the step of the caller that the connection waits for, and its request; None if it does not wait."""
        if self.transport.get_write_buffer_size():
            return "answer", (self.cycle, self.drains)  # a stream may be refilled as fast as it is received
        if self._in_head():
            return "head", self.requests
        return ("silence", self.cycle) if self._is_idle() else None

    def _is_idle(self) -> bool:
        """Return whether the connection is between two requests."""
        return self._is_whole and (self.cycle is None or self.cycle.response_complete)

    def send_400_response(self, _msg: str) -> None:
        """Refuse what the parser did not accept."""
        self._refuse(400, "MalformedRequest", "the request is not valid HTTP/1.1: the connection is closed")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """End the connection, with this answer unless the answer of an earlier request is pending or has started."""
        if self.transport.is_closing():
            return
        is_due = self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)
        if is_due or not (self._in_head() or self.pipeline or self.cycle.response_started):
            body = self.app.refusal(RequestError(status, code, message))
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
