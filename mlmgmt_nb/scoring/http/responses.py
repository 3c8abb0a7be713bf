"""Write the responses of a service, with their ids and headers, and log each request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter
from typing import Any

import msgspec

from mlmgmt_nb.scoring.compat.messages import Answer
from mlmgmt_nb.scoring.driver.results import Outcome
from mlmgmt_nb.scoring.driver.streaming import Stream
from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.histogram import Histogram
from mlmgmt_nb.scoring.http.access.cors import Origins
from mlmgmt_nb.scoring.http.body import LateBodyError, Receive
from mlmgmt_nb.scoring.http.request import Request
from mlmgmt_nb.scoring.http.request_ids import valid_id
from mlmgmt_nb.scoring.http.request_log import RequestLog

__all__ = ["Responder", "Send", "error_body", "id_lines"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON_ONLY = [("content-type", "application/json")]
_CLOSE = (b"connection", b"close")
_RESERVED = frozenset(
    {"content-length", "x-ms-request-id", "x-request-id", "x-ms-client-request-id", "connection", "transfer-encoding"}
)
"""Headers of a response that a driver cannot set."""
_DRIVER_FAULTS = frozenset({"DriverError", "ResultError", "RuntimeError", "Timeout"})
"""Codes of errors that the driver caused."""
_FAILED = "x-ms-run-function-failed"
_SMALL_BODY = 65536
_LINGER_SECONDS = 10.0
"""How long the rest of a refused body is read and discarded: a client that is still sending then sees the response."""


class Responder:
    """Writes the responses of one service.

    Args:
        origins: origins of pages that may read them.
        request_log: gets a line for each request.
        latencies: counts how long the calls of the driver took.

    Attributes:
        draining: each response closes its connection, so that callers move on to other replicas.
        closing: number of further responses that close their connection although the replica is not draining.
    """

    def __init__(self, origins: Origins, request_log: RequestLog, latencies: Histogram) -> None:
        self.draining = False
        self.closing = 0
        self._origins = origins
        self._log = request_log
        self._latencies = latencies

    async def send(
        self,
        status: int,
        body: bytes,
        request: Request,
        send: Send,
        own: Iterable[tuple[str, str]] | None = None,
        *,
        more: bool = False,
    ) -> None:
        """Send a response.

        Args:
            status: the HTTP status.
            body: all of the body.
            request: the request that it answers.
            send: the ASGI function.
            own: the headers of a response that is not plain JSON.
            more: the response is not complete yet: the caller is still sending its body.
        """
        headers = [(b"content-length", b"%d" % len(body)), *([_CLOSE] if more else [])]
        await self._start(status, request, send, own, headers)
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def send_outcome(self, outcome: Outcome, request: Request, send: Send, patience: float) -> None:
        """Send the answer of the driver, and log the request.

        Args:
            outcome: the answer.
            request: the request that it answers.
            send: the ASGI function.
            patience: seconds that one part of a stream may take.
        """
        if isinstance(outcome, Stream):
            await self._send_stream(outcome, request, send, patience)
            return
        answer = Answer(200, _JSON_ONLY, outcome) if isinstance(outcome, bytes) else outcome
        own = _response_headers(request, answer)
        await self.send(answer.status_code, answer.body, request, send, own)
        self.log(request, answer.status_code, answer.body)

    async def _send_stream(self, stream: Stream, request: Request, send: Send, patience: float) -> None:
        """Send an answer part by part. If the driver fails on the way, the caller sees that the end is missing."""
        size, code, message = 0, "", ""
        own = _response_headers(request, stream)
        await self._start(stream.status_code, request, send, own, [])
        try:
            async for part in stream.sent(patience):
                size += len(part)
                if part:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except RequestError as error:
            code, message = error.code, error.message
            # Without the last part, uvicorn ends the connection.
        finally:
            stream.close()
            self.log(request, stream.status_code, size, code, message)

    async def refuse(self, error: RequestError, request: Request, receive: Receive, send: Send) -> None:
        """Send an error at once, even if the caller is still sending a body that nobody will read."""
        body = error_body(error, request.id)
        self.log(request, error.status, body, error.code, error.message)
        unread = request.has_body
        is_near = 0 < request.length <= _SMALL_BODY and not isinstance(error, LateBodyError)
        if unread and is_near:  # cheaper to read than to lose the connection
            unread = not await _discard(receive)
        failed = (_FAILED, str(error.code in _DRIVER_FAULTS))
        own = [*_JSON_ONLY, failed, *error.headers.items()]
        await self.send(error.status, body, request, send, own, more=unread)
        if unread:
            await _discard(receive)
            await send({"type": "http.response.body", "body": b""})

    def log(self, request: Request, status: int, answer: bytes | int, code: str = "", message: str = "") -> None:
        """Log a request, and count its latency if it was a call of the driver.

        Args:
            request: the request.
            status: HTTP status of its answer.
            answer: the body of the answer, or its size if it was sent in parts.
            code, message: code and message of an error.
        """
        size = answer if isinstance(answer, int) else len(answer)
        method, path, ended = request.scope["method"], request.scope["path"], perf_counter()
        if request.taken:
            self._latencies.add(ended - request.began)
        self._log.add(
            (request.id, method, path, status, request.began, ended, request.bytes_in, size, code, message or code)
        )

    async def _start(
        self,
        status: int,
        request: Request,
        send: Send,
        own: Iterable[tuple[str, str]] | None,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        """Send the head of a response."""
        for line in id_lines(request).splitlines():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        kept = [(name.lower(), value) for name, value in (_JSON_ONLY if own is None else own)]
        named = {name for name, _ in kept}  # a driver's own header takes precedence: browsers refuse duplicates
        added = self._origins.headers(request.origin.decode("latin1"))
        kept += [(name, value) for name, value in added if name == "vary" or name not in named]
        headers += [(name.encode(), _header_value(value)) for name, value in kept if name not in _RESERVED]
        if (self.draining or self.closing) and _CLOSE not in headers:
            headers.append(_CLOSE)
            self.closing = max(0, self.closing - 1)
        await send({"type": "http.response.start", "status": status, "headers": headers})


def id_lines(request: Request) -> bytes:
    """Return the header lines with the request's id, under each name that a generation of clients reads."""
    identity = request.id.encode()
    lines = b"x-ms-request-id: %b\r\nx-request-id: %b\r\n" % (identity, valid_id(request.request_id) or identity)
    if client := valid_id(request.client_id or request.id_given):
        lines += b"x-ms-client-request-id: %b\r\n" % client
    return lines


def _response_headers(request: Request, answer: Answer | Stream) -> list[tuple[str, str]]:
    """Return the headers of an answer, with those about the call of `run`. A driver can declare that it failed, but not
    that it succeeded with a status of 500 or above.
    """
    headers = [("x-ms-run-fn-exec-ms", f"{request.run_seconds * 1000:.3f}"), *answer.headers]
    is_failed = answer.status_code >= 500
    if is_failed or not any(name.lower() == _FAILED for name, _ in answer.headers):
        headers = [header for header in headers if header[0].lower() != _FAILED]
        headers.append((_FAILED, str(is_failed)))
    return headers


def error_body(error: RequestError, request_id: str) -> bytes:
    """Return the body of the answer to a request that is refused."""
    return msgspec.json.encode(
        {
            "code": error.code,
            "message": error.message,
            "statusCode": error.status,
            "requestId": request_id,
            "details": [{"code": code, "message": message} for code, message in error.details],
        }
    )


async def _discard(receive: Receive) -> bool:
    """Discard the rest of a body; return whether it ended in time."""
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return False
    return True


def _header_value(value: object) -> bytes:
    """Return a header's value without line ends, so that it cannot start another header: in Latin-1 as Flask sends it,
    or else in UTF-8.
    """
    text = str(value).replace("\r", " ").replace("\n", " ")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()
