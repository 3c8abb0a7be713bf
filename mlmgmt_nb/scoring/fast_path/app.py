"""The application, which also answers plain scoring requests without a task and without ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from mlmgmt_nb.scoring.driver.results import Outcome
from mlmgmt_nb.scoring.fast_path.responder import FastRecordingResponder, FastResponder
from mlmgmt_nb.scoring.http.app import ScoringApp
from mlmgmt_nb.scoring.http.decoding import is_utf8
from mlmgmt_nb.scoring.http.request import CALL, Request, Scope

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

__all__ = ["FastScoringApp"]


class FastScoringApp(ScoringApp):
    """The ASGI application of one service, with a direct way for its most frequent kind of request."""

    _responder: FastResponder
    _responders: ClassVar = (FastResponder, FastRecordingResponder)

    def answer_directly(
        self, cycle: RequestResponseCycle, start_task: Callable[[RequestResponseCycle, ASGI3Application], None]
    ) -> bool:
        """Take a scoring request whose body is complete without a task, and answer it in one write.

        Args:
            cycle: the request.
            start_task: runs an ASGI application for the request, if its answer turns out not to be plain JSON.

        Returns:
            False if it is another kind of request, or must be refused; then nothing has been done.
        """
        scope: Scope = cycle.scope  # type: ignore[assignment]
        if scope["path"] not in self._score_paths or scope["method"] != "POST" or self._wants_request:
            return False
        request, body = Request(scope), bytes(cycle.body)
        if (
            (request.origin and self._origins)
            or not self._hosts.admits(request.host, request.origin)
            or len(body) > self._bodies.largest
            or self._admission.is_full
            or request.content_encoding
            or not is_utf8(body, request.content_type)
            or not self._keys.admits(request.authorization)
        ):
            return False
        self._identify(request)
        cycle.body = bytearray()
        request.bytes_in = len(body)
        request.has_body = False
        request.taken = True
        scope[CALL] = call = self._admission.submit(request.id, body)
        call.future.add_done_callback(partial(self._answer_directly, cycle, request, start_task))
        return True

    def _answer_directly(
        self,
        cycle: RequestResponseCycle,
        request: Request,
        start_task: Callable[[RequestResponseCycle, ASGI3Application], None],
        answer: asyncio.Future[Outcome],
    ) -> None:
        body = None if answer.exception() else answer.result()
        if isinstance(body, bytes) and self._responder.can_write(cycle):
            self._responder.write(cycle, request, body)
            return

        async def finish(_scope: Any, receive: Any, send: Any) -> None:
            await self._handle(self._finish, request, receive, send)

        request.answer = answer
        start_task(cycle, finish)
