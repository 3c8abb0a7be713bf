"""One connection: uvicorn's, which also notices callers that have gone and ends those that are too slow.

A task for each request, and what goes with it, costs more than all else that is done for one. So a request whose body
came with its head is offered to the application as it is (`ScoringApp.answer_directly`); it gets a task only when the
application does not take it. Next comes the reading of heads, and callers send the same ones again and again: what has
been read of those is kept.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from mlmgmt_nb.scoring.http.protocol import HttpProtocol
from mlmgmt_nb.scoring.http.request import CALL, Scope

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from mlmgmt_nb.scoring.http.app import ScoringApp

__all__ = ["Connection"]

_LARGEST_HEAD = 65536
"""Bytes that may come without any of a body: heads, trailers, extensions of chunks. One part more may be read."""
_PART = 16384
_LEAST_TAKEN = 32768
"""Bytes of an answer that a caller takes in each `patience`, or the rest of it."""
_SILENT_SECONDS = 75.0
"""How long a connection may send nothing, also a new one: browsers open some in advance."""
_KNOWN_HEADS = 256
_LARGEST_KNOWN = 2048


class Connection(HttpProtocol):
    """A connection. Bodies that do not arrive are the application's concern, which reads them (`BodyReader`)."""

    app: ScoringApp
    _known: ClassVar[dict[bytes, tuple[Scope, int]]] = {}
    """What was read of heads of requests that came in one piece, with the length of their bodies. Keys are in them, so
    nobody shows it; whether a key is right is asked for each request.
    """
    _is_whole = True
    """The parser is between two requests."""
    _bytes_without_body = 0
    _slow: tuple[str, object] | None = None
    _slow_since = 0.0
    _unsent = 0
    _unread: tuple[RequestResponseCycle, ASGI3Application] | None = None
    """The request whose head is complete and whose body may be so before this read is done."""

    def on_response_complete(self) -> None:
        if self.pipeline:
            super().on_response_complete()
            return
        # without uvicorn's timer, which costs more than the rest of this: `check` ends connections that are idle
        self.server_state.total_requests += 1
        self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            self.app.hung_up(cast("Scope", cycle.scope))

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
                self._refuse(b"431 Request Header Fields Too Large")
            if self.transport.is_closing():
                return

    def _learn(self, head: bytes, rest: int) -> None:
        """Keep what was read of a head, if what followed it was its body and nothing else."""
        cycle = self.cycle
        lengths = [int(value) for name, value in cycle.scope["headers"] if name == b"content-length"]
        is_plain = cycle.keep_alive and not self.expect_100_continue and not self.parser.should_upgrade()
        if lengths == [rest] and is_plain and len(head) <= _LARGEST_KNOWN:
            if len(self._known) >= _KNOWN_HEADS:
                self._known.clear()
            self._known[head] = {**cycle.scope, CALL: None}, rest

    def _repeat(self, like: Scope, body: bytes) -> None:
        """Take a request whose head is known; the parser, which is between two requests, does not see it."""
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
        """End the connection when its caller is too slow; looks at it about once a second, so requests pay nothing.

        Args:
            now: the time, of a clock that only goes forward.
            patience: seconds that the head of a request may take, and a part of an answer.

        Returns:
            What was wrong with it, if it was ended.
        """
        state, unsent = self._state(), self.transport.get_write_buffer_size()
        if state != self._slow or self._unsent - unsent >= _LEAST_TAKEN:  # it got on
            self._slow, self._slow_since, self._unsent = state, now, unsent
        if state is None or now - self._slow_since < (_SILENT_SECONDS if state[0] == "silence" else patience):
            return ""
        if state[0] == "answer":
            self.transport.abort()
            return "an answer was not taken"
        if state[0] == "head":
            self._refuse(b"408 Request Timeout")
            return "the head of a request did not arrive"
        self.transport.close()
        return ""

    def _state(self) -> tuple[str, object] | None:
        """Return what the connection waits for its caller to do, and for which request; None when it is not."""
        if self.transport.get_write_buffer_size():
            return "answer", self.cycle
        if self._in_head():
            return "head", self.scope
        return ("silence", self.cycle) if self._rests() else None

    def _rests(self) -> bool:
        """Whether it is between two requests."""
        return self._is_whole and (self.cycle is None or self.cycle.response_complete)

    def _in_head(self) -> bool:
        """Whether a request has begun whose head is not complete."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _refuse(self, status: bytes) -> None:
        """End the connection, with this answer unless that of an earlier request is due, or has begun."""
        is_due = self.cycle is None or self.cycle.response_complete
        if is_due or not (self._in_head() or self.pipeline or self.cycle.response_started):
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
