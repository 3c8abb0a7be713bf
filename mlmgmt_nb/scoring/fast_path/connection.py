"""A connection that caches the heads of requests and starts no task for plain scoring requests.

A task per request costs more than everything else that is done for a request. So a request whose body arrived with its
head is first offered to the application directly (`FastScoringApp.answer_directly`); it gets a task only if the
application declines. The next largest cost is parsing heads. Callers send the same heads again and again, so parsed
heads are cached.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from mlmgmt_nb.scoring.fast_path.app import FastScoringApp
from mlmgmt_nb.scoring.handover.connection import HandedConnection
from mlmgmt_nb.scoring.http.connection import Connection
from mlmgmt_nb.scoring.http.request import CALL, Scope

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

__all__ = ["FastConnection", "FastHandedConnection"]

_KNOWN_HEADS = 256
_LARGEST_KNOWN = 2048


class FastConnection(Connection):
    """A connection."""

    app: FastScoringApp
    _known: ClassVar[dict[bytes, tuple[Scope, int]]] = {}
    """Parsed heads of requests that arrived in one piece, with the length of their bodies. They contain keys, so they
    must not be logged; the key of each request is still checked.
    """
    _unread: tuple[RequestResponseCycle, ASGI3Application] | None = None
    """The request whose head is complete and whose body may become complete within the current read."""

    def on_response_complete(self) -> None:
        if self.pipeline:
            super().on_response_complete()
            return
        # without uvicorn's timer, which costs more than the rest of this method: `check` ends idle connections
        self.server_state.total_requests += 1
        self.flow.resume_reading()

    def data_received(self, data: bytes) -> None:
        head, before = b"", self.cycle
        if self._is_idle():
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

    def _learn(self, head: bytes, rest: int) -> None:
        """Cache a parsed head, if its body and nothing else followed it."""
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
            keep_alive=not self.leaving,
            on_response=self.on_response_complete,
        )
        self.cycle.body = bytearray(body)
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._start(self.cycle, self.config.loaded_app)

    def on_request_read(self) -> None:
        super().on_request_read()
        if self._unread is not None:
            self._start(*self._unread)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.more_body:
            self._unread = cycle, app
        else:
            self._start(cycle, app)

    def _start(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._unread = None
        if self.leaving or cycle.waiting_for_100_continue or not self.app.answer_directly(cycle, self._start_task):
            self._start_task(cycle, app)

    def _start_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._unread = None
        super()._start_asgi_task(cycle, app)


class FastHandedConnection(HandedConnection, FastConnection):
    """A connection that came from the front door."""

    _known: ClassVar[dict[bytes, tuple[Scope, int]]] = {}  # separate: the scopes of these requests are marked
