"""uvicorn's connection, which also detects callers that hang up and ends connections of slow ones.

A task per request costs more than everything else that is done for a request. So a request whose body arrived with its
head is first offered to the application directly (`ScoringApp.answer_directly`); it gets a task only if the application
declines. The next largest cost is parsing heads. Callers send the same heads again and again, so parsed heads are
cached.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.framing import HeadFault, check_framing
from mlmgmt_nb.scoring.http.protocol import HttpProtocol
from mlmgmt_nb.scoring.http.request import CALL, Scope

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from mlmgmt_nb.scoring.http.app import ScoringApp

__all__ = ["Connection"]

_LARGEST_HEAD = 65536
"""Maximum bytes without body data: heads, trailers, chunk extensions. One more part may be read."""
_PART = 16384
_LEAST_TAKEN = 32768
"""Bytes of an answer that a caller must receive in each period of `patience`, unless fewer are left."""
_SILENT_SECONDS = 75.0
"""How long a connection may stay silent, also a new one: browsers open some in advance."""
_KNOWN_HEADS = 256
_LARGEST_KNOWN = 2048


class Connection(HttpProtocol):
    """A connection. The application itself handles bodies that do not arrive (`BodyReader`)."""

    app: ScoringApp
    _known: ClassVar[dict[bytes, tuple[Scope, int]]] = {}
    """Parsed heads of requests that arrived in one piece, with the length of their bodies. They contain keys, so they
    must not be logged; the key of each request is still checked.
    """
    _is_whole = True
    """The parser is between two requests."""
    _bytes_without_body = 0
    _slow: tuple[str, object] | None = None
    _slow_since = 0.0
    _unsent = 0
    _unread: tuple[RequestResponseCycle, ASGI3Application] | None = None
    """The request whose head is complete and whose body may become complete within the current read."""

    def on_response_complete(self) -> None:
        if self.pipeline:
            super().on_response_complete()
            return
        # without uvicorn's timer, which costs more than the rest of this method: `check` ends idle connections
        self.server_state.total_requests += 1
        self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            self.app.on_disconnect(cast("Scope", cycle.scope))

    def data_received(self, data: bytes) -> None:
        head, before = b"", self.cycle
        if self._rests():
            head = data[: data.find(b"\r\n\r\n") + 4]
            scope, length = self._known.get(head, (None, 0))
            if scope is not None and len(head) + length == len(data):
                self._repeat(scope, data[len(head) :])
                return
        super().data_received(data)
        if self._unread is not None:
            self._start_task(*self._unread)
        if head and self._is_whole and self.cycle is not before:
            self._learn(head, len(data) - len(head))

    def _feed(self, data: bytes | memoryview) -> None:
        for begin in range(0, len(data), _PART):
            self._bytes_without_body += min(_PART, len(data) - begin)
            super()._feed(memoryview(data)[begin : begin + _PART])
            if self._bytes_without_body > _LARGEST_HEAD:
                self._refuse(431, "HeadTooLarge", f"the head is larger than {_LARGEST_HEAD} bytes: send less")
            if self.transport.is_closing():
                return

    def _learn(self, head: bytes, rest: int) -> None:
        """Cache a parsed head, if exactly its body followed it."""
        cycle = self.cycle
        lengths = [int(value) for name, value in cycle.scope["headers"] if name == b"content-length"]
        is_plain = cycle.keep_alive and not self.expect_100_continue and not self.parser.should_upgrade()
        if lengths == [rest] and is_plain and len(head) <= _LARGEST_KNOWN:
            if len(self._known) >= _KNOWN_HEADS:
                self._known.clear()
            self._known[head] = {**cycle.scope, CALL: None}, rest

    def _repeat(self, like: Scope, body: bytes) -> None:
        """Start a request whose head is cached, bypassing the parser, which is between two requests."""
        self.scope = {**like, "client": self.client}  # type: ignore[typeddict-item]
        self._bytes_without_body = 0
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        self.cycle.body = bytearray(body)
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._start(self.cycle, self.config.loaded_app)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_whole = False

    def on_headers_complete(self) -> None:
        try:  # cached heads have passed this check
            check_framing(self.headers, self.url, self.parser.get_http_version())
        except HeadFault as fault:
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
        if self._unread is not None:
            self._start(*self._unread)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.more_body:
            self._unread = cycle, app
        else:
            self._start(cycle, app)

    def _start(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._unread = None
        if cycle.waiting_for_100_continue or not self.app.answer_directly(cycle, self._start_task):
            self._start_task(cycle, app)

    def _start_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._unread = None
        super()._start_asgi_task(cycle, app)

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
        if state is None or now - self._slow_since < (_SILENT_SECONDS if state[0] == "silence" else patience):
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
        return ("silence", self.cycle) if self._rests() else None

    def _rests(self) -> bool:
        """Return whether the connection is between two requests."""
        return self._is_whole and (self.cycle is None or self.cycle.response_complete)

    def _in_head(self) -> bool:
        """Return whether a request has started but its head is incomplete."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

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
