"""HTTP: the paths of a scoring service, its keys and limits.

A bare ASGI application, so that little is paid per request; and what is asked most, with its body at hand, is answered
without one: `answer_directly`.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from hashlib import sha256
from itertools import count
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from mlmgmt_nb.scoring.calls.admission import Engine
from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.compat.messages import Answer
from mlmgmt_nb.scoring.driver.driver import Outcome
from mlmgmt_nb.scoring.driver.streaming import Stream
from mlmgmt_nb.scoring.errors import CallerGone, RequestError
from mlmgmt_nb.scoring.http.body import BodyReader, LateBodyError, Receive
from mlmgmt_nb.scoring.http.cors import Origins
from mlmgmt_nb.scoring.http.decoding import as_utf8, inflater, is_utf8
from mlmgmt_nb.scoring.http.hosts import HostCheck
from mlmgmt_nb.scoring.http.query import body_of_query
from mlmgmt_nb.scoring.http.request import CALL, Request, Scope
from mlmgmt_nb.scoring.http.request_log import RequestLog
from mlmgmt_nb.scoring.schema.swagger import as_openapi

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

__all__ = ["ScoringApp"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON_ONLY = [("content-type", "application/json")]
_CLOSE = (b"connection", b"close")
_OURS = frozenset(
    {"content-length", "x-ms-request-id", "x-request-id", "x-ms-client-request-id", "connection", "transfer-encoding"}
)
"""Headers of an answer that a driver does not set."""
_RAW_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_RAN_BADLY = frozenset({"DriverError", "ResultError", "RuntimeError", "Timeout"})
"""Codes of errors that are the driver's fault."""
_ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")
_SMALL_BODY = 65536
_LINGER_SECONDS = 10.0
"""How long the rest of a refused body is read and thrown away, so that a client still sending sees the answer."""


_Endpoint = Callable[[Request, Receive, Send], Awaitable[None]]


class ScoringApp:
    """The ASGI application of one service.

    Args:
        name: the service's name, part of its paths.
        engine: runs the driver.
        max_body_bytes: larger bodies are refused.
        swagger: the service's description, as Swagger 2.0.
        request_log: gets a line for each request, health checks apart.
        hosts: refuses requests with a foreign `Host` or `Origin`.
        descriptions: those that the application has itself, by version.
        origins: of pages that may call the service.

    Attributes:
        draining: answers close their connection, so that callers move on to other replicas.
        on_trace: is told the id of each request that is part of a caller's trace, and its `traceparent`.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        max_body_bytes: int,
        swagger: dict[str, Any],
        request_log: RequestLog,
        hosts: HostCheck,
        descriptions: Mapping[str, bytes] | None = None,
        origins: Origins | None = None,
    ) -> None:
        self.name = name
        self.draining = False
        self._engine = engine
        self._bodies = BodyReader(max_body_bytes, engine.concurrency * max_body_bytes, engine.timeout)
        self._hosts = hosts
        described = [msgspec.json.encode(document) for document in (swagger, as_openapi(swagger))]
        self._descriptions = {**dict(zip(("2", "3"), described, strict=True)), **(descriptions or {})}
        self._origins = origins or Origins(frozenset())
        self._log = request_log
        self.on_trace: Callable[[str, bytes], None] | None = None
        self._digests: list[str] = []
        self._wants_request = engine.driver is not None and engine.driver.wants_request
        self._is_raw = engine.driver is not None and engine.driver.raw
        score: dict[str, _Endpoint] = {"POST": self._score, "GET": self._score_query, "OPTIONS": self._options}
        if engine.driver is not None and engine.driver.raw:
            score = dict.fromkeys(_RAW_METHODS, self._score)
        prefix = f"/api/v1/service/{name}"
        self._score_paths = frozenset({"/score", f"{prefix}/score"})
        self._date: tuple[object, bytes] = (None, b"")
        self._methods: dict[str, dict[str, _Endpoint]] = {
            "/": {"GET": self._health, "HEAD": self._health},
            "/swagger.json": {"GET": self._describe, "HEAD": self._describe},
            f"{prefix}/swagger.json": {"GET": self._describe, "HEAD": self._describe},
            **dict.fromkeys(self._score_paths, score),
        }
        self._allowed = ", ".join(score)
        # looks like a UUID, costs a tenth: random once, counted since
        self._id_prefix = (
            f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(2)[1:]}-a{secrets.token_hex(2)[1:]}"
        )
        self._id_counter = count(secrets.randbits(40))

    def set_keys(self, digests: Iterable[str]) -> int:
        """Replace the keys, given as SHA-256 in hex; no key at all lets everybody in. Return their number."""
        self._digests = list(digests)
        return len(self._digests)

    def abandon(self) -> int:
        """Answers all calls that have no answer yet that the replica ends; their number."""
        return self._engine.abandon() + self._bodies.abandon()

    def hung_up(self, scope: Scope) -> None:
        """The connection of a request is lost before there was an answer."""
        call: Call | None = scope.get(CALL)
        if call is not None:
            self._engine.hang_up(call)

    def answer_directly(
        self, cycle: RequestResponseCycle, start_task: Callable[[RequestResponseCycle, ASGI3Application], None]
    ) -> bool:
        """Take a request to score whose body is complete, without a task: it is answered in one write.

        Args:
            cycle: the request.
            start_task: runs an ASGI application for it, for what is not answered so simply after all.

        Returns:
            False when it is no such request, or one to be refused: then nothing has been done.
        """
        scope: Scope = cycle.scope  # type: ignore[assignment]
        if scope["path"] not in self._score_paths or scope["method"] != "POST" or self._wants_request:
            return False
        request, body = Request(scope), bytes(cycle.body)
        if (
            (request.origin and self._origins)
            or not self._hosts.admits(request.host, request.origin)
            or len(body) > self._bodies.largest
            or self._engine.is_full
            or request.content_encoding
            or not is_utf8(body, request.content_type)
            or not self._is_key(request.authorization)
        ):
            return False
        self._identify(request)
        cycle.body = bytearray()
        request.bytes_in = len(body)
        request.has_body = False
        request.taken = True
        scope[CALL] = call = self._engine.submit(request.id, body)
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
        if not isinstance(body, bytes) or self.draining or not cycle.keep_alive or cycle.flow.write_paused:

            async def finish(_scope: Any, receive: Any, send: Any) -> None:
                await self._handle(self._finish, request, receive, send)

            request.answer = answer
            start_task(cycle, finish)
            return
        if not cycle.disconnected:
            cycle.transport.write(
                b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n%b%bcontent-type: application/json\r\n\r\n%b"
                % (self._default_headers(cycle), len(body), self._ids(request), self._ran(request), body)
            )
            cycle.response_started = cycle.response_complete = True
            cycle.on_response()
        self._log_request(request, 200, len(body))

    def _ids(self, request: Request) -> bytes:
        """Return the lines that say which request was answered, in the words of all clients that there have been."""
        identity = request.id.encode()
        lines = b"x-ms-request-id: %b\r\nx-request-id: %b\r\n" % (identity, _good_id(request.request_id) or identity)
        if client := _good_id(request.client_id):
            lines += b"x-ms-client-request-id: %b\r\n" % client
        return lines

    @staticmethod
    def _ran(request: Request) -> bytes:
        """Return the lines that say how `run` fared."""
        milliseconds = b"%.3f" % (request.spent * 1000)
        return b"x-ms-run-fn-exec-ms: %b\r\nx-ms-run-function-failed: False\r\n" % milliseconds

    def _default_headers(self, cycle: RequestResponseCycle) -> bytes:
        """uvicorn's own, which are made anew about once a second."""
        if self._date[0] is not cycle.default_headers:
            lines = (b"%b: %b\r\n" % header for header in cycle.default_headers)
            self._date = cycle.default_headers, b"".join(lines)
        return self._date[1]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served here")
        request = Request(scope)
        self._identify(request)
        await self._handle(self._route, request, receive, send)

    def _identify(self, request: Request) -> None:
        request.id = self._request_id(request.id_given or request.client_id or request.request_id)
        if request.traceparent and self.on_trace:
            self.on_trace(request.id, request.traceparent)

    async def _handle(self, endpoint: _Endpoint, request: Request, receive: Receive, send: Send) -> None:
        """Answers a request with what an endpoint answers or refuses."""
        try:
            await endpoint(request, receive, send)
        except RequestError as error:
            await self._refuse(error, request, receive, send)
        except CallerGone:
            self._log_request(request, 499, 0, "CallerGone", "the caller hung up")

    async def _route(self, request: Request, receive: Receive, send: Send) -> None:
        self._hosts.check(request.host, request.origin)
        await self._endpoint(request)(request, receive, send)

    def _endpoint(self, request: Request) -> _Endpoint:
        path, method = request.scope["path"], request.scope["method"]
        methods = self._methods.get(path)
        if methods is None:
            raise RequestError(
                404, "NotFound", f"there is nothing at {path[:200]}: this is the service {self.name}, POST to /score"
            )
        endpoint = methods.get(method)
        has_no_input = endpoint == self._score_query and not request.scope["query_string"]
        if endpoint is None or has_no_input:
            allowed = ", ".join(methods)
            why = "GET needs a query here" if has_no_input else f"{method} is not allowed here"
            raise RequestError(405, "MethodNotAllowed", f"{why}: use {allowed}", headers={"Allow": allowed})
        return endpoint

    def _request_id(self, given: bytes) -> str:
        if good := _good_id(given):
            return good.decode("ascii")
        return f"{self._id_prefix}-{next(self._id_counter) & 0xFFFFFFFFFFFF:012x}"

    def _is_key(self, authorization: bytes) -> bool:
        """Compare with every key, always all of them, in constant time."""
        if not self._digests:
            return True
        scheme, _, key = authorization.partition(b" ")
        digest = sha256(key.strip()).hexdigest()
        right = False
        for known in self._digests:
            right |= hmac.compare_digest(digest, known)
        return right and scheme.lower() == b"bearer"

    def _check_key(self, authorization: bytes) -> None:
        if not self._is_key(authorization):
            what = "the key is wrong" if authorization else "a key is needed"
            raise RequestError(
                401,
                "Unauthorized",
                f"{what}: send a key of this service as 'Authorization: Bearer <key>'",
                headers={"WWW-Authenticate": f'Bearer realm="{self.name}"'},
            )

    async def _health(self, request: Request, _receive: Receive, send: Send) -> None:
        status = "draining" if self.draining else "healthy"
        body = msgspec.json.encode({"status": status, "name": self.name, "calls": self._engine.calls})
        await self._answer(200, body, request, send)

    async def _describe(self, request: Request, _receive: Receive, send: Send) -> None:
        self._check_key(request.authorization)
        version = dict(parse_qsl(request.scope["query_string"].decode("latin1"))).get("version", "2")
        description = self._descriptions.get(version.partition(".")[0])
        if description is None:
            raise RequestError(
                400, "BadInput", f"version: there is no {version[:20]!r}: 2 is Swagger 2.0 and 3 is OpenAPI 3.0"
            )
        await self._answer(200, description, request, send)
        self._log_request(request, 200, len(description))

    async def _score(self, request: Request, receive: Receive, send: Send) -> None:
        self._check_key(request.authorization)
        if request.length > self._bodies.largest:
            raise self._bodies.too_large()
        self._engine.check_room()  # now rather than after a large body; its place it gets when the body is there
        deadline = monotonic() + self._engine.timeout
        body = await self._read(request, receive)
        request.bytes_in = len(body)
        await self._run(body, request, receive, send, deadline)

    async def _score_query(self, request: Request, receive: Receive, send: Send) -> None:
        """GET: the arguments are in the query."""
        self._check_key(request.authorization)
        driver = self._engine.driver
        types = driver.schema.input if driver is not None and driver.schema is not None else {}
        await self._run(body_of_query(request.scope["query_string"], types), request, receive, send)

    async def _options(self, request: Request, _receive: Receive, send: Send) -> None:
        """OPTIONS: which methods there are; and for pages of other origins, whether they may use them."""
        own = [("allow", self._allowed)]
        if self._is_preflight(request):
            asked = request.header(b"access-control-request-headers")
            own += self._origins.preflight(request.origin.decode("latin1"), self._allowed, asked)
        await self._answer(200, b"", request, send, own)
        self._log_request(request, 200, 0)

    def _is_preflight(self, request: Request) -> bool:
        return bool(self._origins and request.origin and request.header(b"access-control-request-method"))

    async def _run(self, body: bytes, request: Request, receive: Receive, send: Send, deadline: float = 0.0) -> None:
        """Has the driver answer."""
        call = self._engine.submit(request.id, request.whole(body) if self._wants_request else body, deadline)
        request.taken = True
        request.scope[CALL], request.answer = call, call.future
        await self._finish(request, receive, send)

    async def _finish(self, request: Request, _receive: Receive, send: Send) -> None:
        """Send what the driver answers."""
        answer = await request.answer
        if isinstance(answer, Stream):
            await self._send_stream(answer, request, send)
            return
        if isinstance(answer, bytes):
            answer = Answer(200, _JSON_ONLY, answer)
        own = [*answer.headers, *self._fared(request, answer)]
        await self._answer(answer.status_code, answer.body, request, send, own)
        self._log_request(request, answer.status_code, len(answer.body))

    @staticmethod
    def _fared(request: Request, answer: Answer | Stream) -> list[tuple[str, str]]:
        """How `run` fared, unless the driver says so itself."""
        fared = [("x-ms-run-fn-exec-ms", f"{request.spent * 1000:.3f}")]
        if not any(name.lower() == "x-ms-run-function-failed" for name, _ in answer.headers):
            fared.append(("x-ms-run-function-failed", str(answer.status_code >= 500)))
        return fared

    async def _send_stream(self, stream: Stream, request: Request, send: Send) -> None:
        """Send an answer part by part. When the driver fails in it, the caller sees that its end is missing."""
        size, code, message = 0, "", ""
        own = [*stream.headers, *self._fared(request, stream)]
        await self._start_answer(stream.status_code, request, send, own, [])
        try:
            async for part in stream.sent(self._engine.timeout):
                size += len(part)
                if part:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except RequestError as error:
            code, message = error.code, error.message
            # Without its last part uvicorn ends the connection.
        finally:
            stream.close()
            self._log_request(request, stream.status_code, size, code, message)

    async def _read(self, request: Request, receive: Receive) -> bytes:
        """Return the body: as it came for drivers that want the whole request, as UTF-8 for all others."""

        async def receive_part() -> MutableMapping[str, Any]:
            message = await receive()
            request.has_body = message.get("more_body", False)
            return message

        if self._is_raw:
            return await self._bodies.read(receive_part)
        body = await self._bodies.read(receive_part, inflater(request.content_encoding))
        return as_utf8(body, request.content_type)

    def _log_request(self, request: Request, status: int, size: int, code: str = "", message: str = "") -> None:
        method, path, ended = request.scope["method"], request.scope["path"], perf_counter()
        if request.taken:
            self._engine.latencies.add(ended - request.began)
        self._log.add(
            (request.id, method, path, status, request.began, ended, request.bytes_in, size, code, message or code)
        )

    async def _answer(
        self,
        status: int,
        body: bytes,
        request: Request,
        send: Send,
        own: Iterable[tuple[str, str]] | None = None,
        *,
        more: bool = False,
    ) -> None:
        """Send an answer; `own` are its headers, if it is not JSON without further ones."""
        headers = [(b"content-length", b"%d" % len(body)), *([_CLOSE] if more else [])]
        await self._start_answer(status, request, send, own, headers)
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _start_answer(
        self,
        status: int,
        request: Request,
        send: Send,
        own: Iterable[tuple[str, str]] | None,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        """Send the head of an answer."""
        for line in self._ids(request).splitlines():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        kept = [(name.lower(), value) for name, value in (_JSON_ONLY if own is None else own)]
        kept += self._origins.headers(request.origin.decode("latin1"))
        headers += [(name.encode(), _header_value(value)) for name, value in kept if name not in _OURS]
        if self.draining and _CLOSE not in headers:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _refuse(self, error: RequestError, request: Request, receive: Receive, send: Send) -> None:
        """An error as an answer. The caller gets it at once, and can finish sending a body that nobody reads."""
        body = self._error_body(error, request.id)
        self._log_request(request, error.status, len(body), error.code, error.message)
        unread = request.has_body
        is_near = 0 < request.length <= _SMALL_BODY and not isinstance(error, LateBodyError)
        if unread and is_near:  # cheaper to read than to lose the connection
            unread = not await self._discard(receive)
        failed = ("x-ms-run-function-failed", str(error.code in _RAN_BADLY))
        own = [*_JSON_ONLY, failed, *error.headers.items()]
        await self._answer(error.status, body, request, send, own, more=unread)
        if unread:
            await self._discard(receive)
            await send({"type": "http.response.body", "body": b""})

    @staticmethod
    def _error_body(error: RequestError, request_id: str) -> bytes:
        return msgspec.json.encode(
            {
                "code": error.code,
                "message": error.message,
                "statusCode": error.status,
                "requestId": request_id,
                "details": [{"code": code, "message": message} for code, message in error.details],
            }
        )

    @staticmethod
    async def _discard(receive: Receive) -> bool:
        """Throws the rest of a body away; whether it came to its end in time."""
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            return False
        return True


def _good_id(given: bytes) -> bytes:
    """Return an id that a caller gave, if it can be kept in headers and logs as it is."""
    return given if given and len(given) <= 128 and _ID_CHARACTERS.issuperset(given) else b""


def _header_value(value: object) -> bytes:
    """Return a header's value, in which nothing begins another header."""
    return str(value).replace("\r", " ").replace("\n", " ").encode()
