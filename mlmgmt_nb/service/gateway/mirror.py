"""Copies of requests: after a caller has its answer, the other deployment of its service gets the same request.

That is the candidate, or the current deployment if the candidate has answered. Copies do not delay callers. If copies
are slower than callers, further requests are counted instead of copied.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, NamedTuple

from mlmgmt_nb.contract.recording import COPY_HEADER
from mlmgmt_nb.contract.traffic import MirroredPair
from mlmgmt_nb.scoring.recording.redaction import Redactor
from mlmgmt_nb.service.gateway.split import Purpose
from mlmgmt_nb.service.gateway.upstream import ConnectionLostError
from mlmgmt_nb.service.http.messages import Receive, Scope, Send

__all__ = ["Copier", "Copy", "Mirrored"]

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Forward = Callable[[Scope, Receive, Send], Awaitable[None]]

_LARGEST = 2**20
"""Maximum bytes of a copied request, and of an answer."""
_AT_ONCE = 4
_MOST_WAITING, _MOST_WAITING_BYTES = 100, 16 * 2**20
_COPY_SECONDS = 60.0
_FIRST_ERROR, _NO_KEY = 400, 401
_SHORT = 4096
"""Bytes of an answer that is redacted at once. Longer ones can take up to a second, so a thread does it."""
_NODES_AT_ONCE, _PAUSE_SECONDS = 200, 0.0002


class Mirrored(NamedTuple):
    """Results of copies: pairs of answers, and the number of requests without a pair.

    Attributes:
        is_final: whether no further results follow.
    """

    pairs: Sequence[MirroredPair] = ()
    dropped: int = 0
    skipped: int = 0
    is_final: bool = False

    @property
    def has_requests(self) -> bool:
        return bool(self.pairs or self.dropped or self.skipped)

    def plus(self, later: Mirrored) -> Mirrored:
        """Return these results and later ones."""
        return Mirrored(
            [*self.pairs, *later.pairs], self.dropped + later.dropped, self.skipped + later.skipped, later.is_final
        )


class _PatientRedactor(Redactor):
    """Redacts in a thread, and pauses often, so that the event loop of the router does not wait for the interpreter."""

    _nodes = 0

    def _cleaned(self, value: Any) -> Any:
        self._nodes += 1
        if self._nodes % _NODES_AT_ONCE == 0:
            time.sleep(_PAUSE_SECONDS)
        return super()._cleaned(value)


class _Taken:
    """The body of a message, with its status and the request id of a response."""

    def __init__(self) -> None:
        self.status = 0
        self.request_id = ""
        self.body = bytearray()
        self.is_complete = self.is_too_large = False

    def add(self, message: Message) -> None:
        """Take a message of ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = dict(message["headers"])
            self.request_id = headers.get(b"x-ms-request-id", b"").decode("latin-1")
        elif message["type"] in {"http.request", "http.response.body"}:
            self.is_complete = not message.get("more_body", False)
            self.is_too_large = self.is_too_large or len(self.body) + len(message.get("body", b"")) > _LARGEST
            self.body += b"" if self.is_too_large else message.get("body", b"")

    def fail(self, reason: str) -> None:
        """Store a reason instead of a response."""
        self.status, self.body = 0, bytearray(reason.encode())


class Copy:
    """A request while it is answered: collects its body and its answer as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.request, self.answer = _Taken(), _Taken()
        self.seconds = 0.0
        self._receive, self._send = receive, send

    @property
    def is_answered(self) -> bool:
        """Whether a caller with a key has its answer."""
        return self.request.is_complete and self.answer.is_complete and self.answer.status != _NO_KEY

    @property
    def is_too_large(self) -> bool:
        return self.request.is_too_large or self.answer.is_too_large

    @property
    def size(self) -> int:
        """Bytes of the request and its answer."""
        return len(self.request.body) + len(self.answer.body)

    async def receive(self) -> Message:
        message: Message = await self._receive()
        self.request.add(message)
        return message

    async def send(self, message: Message) -> None:
        self.answer.add(message)
        await self._send(message)


class Copier:
    """Sends copies, a few at a time. All methods but `take` belong to one event loop.

    Args:
        forward: sends a request to the other deployment.
        redact: names of the fields whose values are replaced in kept answers.
        purpose: what the copies are for.
    """

    def __init__(self, forward: Forward, redact: Sequence[str], purpose: Purpose = "") -> None:
        self.purpose = purpose
        self._forward = forward
        self._redactor = Redactor(redact) if redact else None
        self._patient_redactor = _PatientRedactor(redact) if redact else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mirror-redaction")
        self._lock = threading.Lock()  # of the results and the number of copies without one
        self._open = 0
        self._is_finishing = False
        self._waiting: asyncio.Queue[Copy] = asyncio.Queue(_MOST_WAITING)
        self._waiting_bytes = 0
        self._pairs: list[MirroredPair] = []
        self._dropped = self._skipped = 0
        self._workers = [asyncio.create_task(self._work()) for _ in range(_AT_ONCE)]

    def offer(self, copy: Copy) -> None:
        """Send a copy of an answered request, now or later, if there is room for it."""
        if not copy.is_answered or self._is_finishing:
            return
        with self._lock:
            if copy.is_too_large:
                self._skipped += 1
            elif self._waiting.full() or self._waiting_bytes > _MOST_WAITING_BYTES:
                self._dropped += 1
            else:
                self._open += 1
                self._waiting_bytes += copy.size
                self._waiting.put_nowait(copy)

    def take(self) -> Mirrored:
        """Return the results of copies since the last call."""
        with self._lock:
            taken = Mirrored(self._pairs, self._dropped, self._skipped, self._is_finishing and not self._open)
            self._pairs, self._dropped, self._skipped = [], 0, 0
        return taken

    def finish(self, seconds: float) -> None:
        """Accept no further copies, and wait this long for answers to those that were accepted."""
        self._is_finishing = True
        asyncio.get_running_loop().call_later(seconds, self.stop)
        if not self._open:
            self.stop()

    def stop(self) -> None:
        """Send no further copies. Those without an answer are dropped."""
        self._is_finishing = True
        for worker in self._workers:
            worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._dropped, self._open = self._dropped + self._open, 0

    async def _work(self) -> None:
        while True:
            copy = await self._waiting.get()
            self._waiting_bytes -= copy.size
            self._add(await self._pair(copy))

    def _add(self, pair: MirroredPair | None) -> None:
        """Add the result of a copy; None for a pair that cannot be kept."""
        with self._lock:
            self._open -= 1
            if pair is None:
                self._skipped += 1
            else:
                self._pairs.append(pair)
        if self._is_finishing and not self._open:
            self.stop()

    async def _pair(self, copy: Copy) -> MirroredPair | None:
        answer, seconds = await self._answered(copy)
        try:
            old, new = await self._kept(copy.answer), await self._kept(answer)
        except Exception:
            # Answers that cannot be redacted must not end the worker: no further request would be copied.
            log.exception("the answers to a copy of a request cannot be redacted")
            return None
        if answer.is_too_large or old is None or new is None:
            return None
        return MirroredPair(
            request_id=copy.answer.request_id,
            status=answer.status,
            answer=new,
            seconds=seconds,
            old_status=copy.answer.status,
            old_answer=old,
            old_seconds=copy.seconds,
        )

    async def _answered(self, copy: Copy) -> tuple[_Taken, float]:
        """Return the answer to a copy, and its latency."""
        answer = _Taken()
        headers = [(name, value) for name, value in copy.scope["headers"] if name != COPY_HEADER.encode()]
        scope = {**copy.scope, "headers": [*headers, (COPY_HEADER.encode(), b"mirror")]}
        body = bytes(copy.request.body)
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.Event().wait()  # like a caller that waits for its answer
            raise AssertionError("unreachable")

        async def send(message: Message) -> None:
            answer.add(message)

        began = perf_counter()
        try:
            async with asyncio.timeout(_COPY_SECONDS):
                await self._forward(scope, receive, send)
        except ConnectionLostError:
            answer.fail("the replica ended during its answer")
        except TimeoutError:
            answer.fail(f"no answer within {_COPY_SECONDS:g} seconds")
        except Exception as error:
            # A copy that cannot be sent must not affect other copies or the requests of callers.
            log.exception("a copy of a request cannot be sent")
            answer.fail(str(error))
        return answer, perf_counter() - began

    async def _kept(self, answer: _Taken) -> bytes | None:
        """Return the part of an answer that is kept; None if its fields cannot be redacted."""
        content = bytes(answer.body)
        if self._redactor is None or self._patient_redactor is None or not answer.status:
            return content
        if answer.status >= _FIRST_ERROR:
            return b""  # messages of errors quote values, so only the status of an error is kept
        if len(content) <= _SHORT:
            return self._redactor.redact(content)[0]
        redact, loop = self._patient_redactor.redact, asyncio.get_running_loop()
        return (await loop.run_in_executor(self._thread, redact, content))[0]
