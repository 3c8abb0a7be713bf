"""The HTTP interface of a scoring service: its paths, limits and endpoints.

A bare ASGI application, so that each request costs little.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec

from mlmgmt_nb.scoring.calls.admission import Admission
from mlmgmt_nb.scoring.calls.call import Call
from mlmgmt_nb.scoring.errors import ClientDisconnected, RequestError
from mlmgmt_nb.scoring.http.access.cors import Origins
from mlmgmt_nb.scoring.http.access.hosts import HostCheck
from mlmgmt_nb.scoring.http.access.keys import Keys
from mlmgmt_nb.scoring.http.body import BodyReader, Receive
from mlmgmt_nb.scoring.http.decoding import as_utf8, inflater
from mlmgmt_nb.scoring.http.query import body_of_query
from mlmgmt_nb.scoring.http.recording import RecordingResponder
from mlmgmt_nb.scoring.http.request import CALL, Request, Scope
from mlmgmt_nb.scoring.http.request_ids import RequestIds
from mlmgmt_nb.scoring.http.request_log import RequestLog
from mlmgmt_nb.scoring.http.responses import Responder, Send, error_body
from mlmgmt_nb.scoring.recording.recorder import Recorder
from mlmgmt_nb.scoring.schema.swagger import as_openapi

__all__ = ["ScoringApp"]

_RAW_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_Endpoint = Callable[[Request, Receive, Send], Awaitable[None]]


class ScoringApp:
    """The ASGI application of one service.

    Args:
        name: the service's name, part of its paths.
        admission: runs the driver.
        max_body_bytes: larger bodies are refused.
        swagger: the service's description, as Swagger 2.0.
        request_log: gets a line for each request except health checks.
        hosts: refuses requests with a foreign `Host` or `Origin`.
        descriptions: descriptions that the application brings along, by version; they replace the generated ones.
        origins: origins of pages that may call the service.
        recorder: records requests and answers, if the service does that.

    Attributes:
        on_trace: called with the id of each request that is part of a caller's trace, and its `traceparent`.
    """

    _responders: ClassVar[tuple[type[Responder], type[RecordingResponder]]] = (Responder, RecordingResponder)
    """The responder of services that record nothing, and that of all others."""

    def __init__(
        self,
        name: str,
        admission: Admission,
        max_body_bytes: int,
        swagger: dict[str, Any],
        request_log: RequestLog,
        hosts: HostCheck,
        descriptions: Mapping[str, bytes] | None = None,
        origins: Origins | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.name = name
        self._admission = admission
        self._bodies = BodyReader(max_body_bytes, admission.concurrency * max_body_bytes, admission.timeout)
        self._hosts = hosts
        described = [msgspec.json.encode(document) for document in (swagger, as_openapi(swagger))]
        self._descriptions = {**dict(zip(("2", "3"), described, strict=True)), **(descriptions or {})}
        self._origins = origins or Origins(frozenset())
        self._responder = self._make_responder(request_log, recorder)
        self._keys = Keys(name)
        self._ids = RequestIds()
        self.on_trace: Callable[[str, bytes], None] | None = None
        self._wants_request = admission.driver is not None and admission.driver.wants_request
        self._is_raw = admission.driver is not None and admission.driver.raw
        score: dict[str, _Endpoint] = {"POST": self._score, "GET": self._score_query, "OPTIONS": self._options}
        if admission.driver is not None and admission.driver.raw:
            score = {**dict.fromkeys(_RAW_METHODS, self._score), "OPTIONS": self._raw_options}
        prefix = f"/api/v1/service/{name}"
        self._score_paths = frozenset({"/score", f"{prefix}/score"})
        self._methods: dict[str, dict[str, _Endpoint]] = {
            "/": {"GET": self._health, "HEAD": self._health},
            "/swagger.json": {"GET": self._describe, "HEAD": self._describe},
            f"{prefix}/swagger.json": {"GET": self._describe, "HEAD": self._describe},
            **dict.fromkeys(self._score_paths, score),
        }
        self._allowed = ", ".join(score)

    def _make_responder(self, request_log: RequestLog, recorder: Recorder | None) -> Responder:
        plain, recording = self._responders
        if recorder is None:
            return plain(self._origins, request_log, self._admission.latencies)
        responder = recording(self._origins, request_log, self._admission.latencies)
        responder.recorder = recorder
        return responder

    @property
    def draining(self) -> bool:
        """Whether each response closes its connection, so that callers move on to other replicas."""
        return self._responder.draining

    def drain(self) -> None:
        """Let each response from now on close its connection."""
        self._responder.draining = True

    def close_connections(self, count: int) -> None:
        """Let the next responses close their connections."""
        self._responder.closing = count

    def set_keys(self, digests: Iterable[str]) -> int:
        """Replace the keys, given as SHA-256 in hex; without keys anyone may call. Return their number."""
        return self._keys.replace(digests)

    def abandon(self) -> int:
        """Tell all callers without an answer that the replica is stopping; return their number."""
        return self._admission.abandon() + self._bodies.abandon()

    def head_start(self, coming: int) -> float:
        """Return the seconds for which other replicas may accept a connection first; see `Admission.head_start`."""
        return self._admission.head_start(coming)

    def on_disconnect(self, scope: Scope) -> None:
        """Note that the connection of a request was lost before its answer."""
        call: Call | None = scope.get(CALL)
        if call is not None:
            self._admission.disconnect(call)

    def refusal(self, error: RequestError) -> bytes:
        """Return the body of the answer to data that the connection refuses before it is a request."""
        return error_body(error, self._ids.choose(b""))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served here")
        request = Request(scope)
        self._identify(request)
        await self._handle(self._route, request, receive, send)

    def _identify(self, request: Request) -> None:
        request.id = self._ids.choose(request.id_given or request.client_id or request.request_id)
        if request.traceparent and self.on_trace:
            self.on_trace(request.id, request.traceparent)

    async def _handle(self, endpoint: _Endpoint, request: Request, receive: Receive, send: Send) -> None:
        """Run an endpoint; send its error if it refuses the request."""
        try:
            await endpoint(request, receive, send)
        except RequestError as error:
            await self._responder.refuse(error, request, receive, send)
        except ClientDisconnected:
            self._responder.log(request, 499, 0, "ClientDisconnected", "the caller hung up")

    async def _route(self, request: Request, receive: Receive, send: Send) -> None:
        self._hosts.check(request.host, request.origin)
        await self._endpoint(request)(request, receive, send)

    def _endpoint(self, request: Request) -> _Endpoint:
        path, method = request.scope["path"], request.scope["method"]
        methods = self._methods.get(path)
        if methods is None:
            raise RequestError(
                404, "NotFound", f"{path[:200]} does not exist in the service {self.name}. POST to /score"
            )
        endpoint = methods.get(method)
        has_no_input = endpoint == self._score_query and not request.scope["query_string"]
        if endpoint is None or has_no_input:
            allowed = ", ".join(methods)
            why = "GET needs a query here" if has_no_input else f"{method} is not allowed here"
            raise RequestError(405, "MethodNotAllowed", f"{why}. Use {allowed}", headers={"Allow": allowed})
        return endpoint

    async def _health(self, request: Request, _receive: Receive, send: Send) -> None:
        status = "draining" if self.draining else "healthy"
        body = msgspec.json.encode({"status": status, "name": self.name, "calls": self._admission.calls})
        await self._responder.send(200, body, request, send)

    async def _describe(self, request: Request, _receive: Receive, send: Send) -> None:
        self._keys.check(request.authorization)
        version = dict(parse_qsl(request.scope["query_string"].decode("latin1"))).get("version", "2")
        description = self._descriptions.get(version.partition(".")[0])
        if description is None:
            raise RequestError(
                400, "BadInput", f"version: {version[:20]!r} does not exist. Use 2 for Swagger 2.0 or 3 for OpenAPI 3.0"
            )
        await self._responder.send(200, description, request, send)
        self._responder.log(request, 200, description)

    async def _score(self, request: Request, receive: Receive, send: Send) -> None:
        self._keys.check(request.authorization)
        if request.length > self._bodies.largest:
            raise self._bodies.too_large()
        self._admission.check_room()  # before a large body is read; the place is taken once the body is complete
        deadline = monotonic() + self._admission.timeout
        body = await self._read(request, receive)
        request.bytes_in = len(body)
        await self._run(body, request, receive, send, deadline)

    async def _score_query(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer GET: the arguments are in the query."""
        self._keys.check(request.authorization)
        driver = self._admission.driver
        types = driver.schema.input if driver is not None and driver.schema is not None else {}
        await self._run(body_of_query(request.scope["query_string"], types), request, receive, send)

    async def _options(self, request: Request, _receive: Receive, send: Send) -> None:
        """Answer OPTIONS: list the methods, and whether pages of other origins may use them."""
        own = [("allow", self._allowed)]
        if self._is_preflight(request):
            asked = request.header(b"access-control-request-headers")
            own += self._origins.preflight(request.origin.decode("latin1"), self._allowed, asked)
        await self._responder.send(200, b"", request, send, own)
        self._responder.log(request, 200, 0)

    async def _raw_options(self, request: Request, receive: Receive, send: Send) -> None:
        """Let a driver of raw HTTP answer OPTIONS, unless it is a preflight request, in which browsers send no key."""
        is_keyless = self._is_preflight(request) and not self._keys.admits(request.authorization)
        await (self._options if is_keyless else self._score)(request, receive, send)

    def _is_preflight(self, request: Request) -> bool:
        return bool(self._origins and request.origin and request.header(b"access-control-request-method"))

    async def _run(self, body: bytes, request: Request, receive: Receive, send: Send, deadline: float = 0.0) -> None:
        """Let the driver answer."""
        call = self._admission.submit(request.id, request.whole(body) if self._wants_request else body, deadline)
        request.taken = True
        request.scope[CALL], request.answer = call, call.future
        await self._finish(request, receive, send)

    async def _finish(self, request: Request, _receive: Receive, send: Send) -> None:
        """Wait for the driver's answer and send it."""
        await self._responder.send_outcome(await request.answer, request, send, self._admission.timeout)

    async def _read(self, request: Request, receive: Receive) -> bytes:
        """Return the body: unchanged for drivers that take the whole request, as UTF-8 for all others."""

        async def receive_part() -> MutableMapping[str, Any]:
            message = await receive()
            request.has_body = message.get("more_body", False)
            return message

        if self._is_raw:
            return await self._bodies.read(receive_part)
        body = await self._bodies.read(receive_part, inflater(request.content_encoding))
        return as_utf8(body, request.content_type)
