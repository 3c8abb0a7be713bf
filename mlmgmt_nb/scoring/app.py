"""HTTP: the paths of a scoring service, its keys and limits.

A bare ASGI application, so that little is paid per request.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hashlib import sha256
from itertools import count
from time import monotonic
from typing import Any

import msgspec

from mlmgmt_nb.scoring.engine import Call, Engine, log
from mlmgmt_nb.scoring.errors import RequestError

__all__ = ["ScoringApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")
_SMALL_BODY = 65536
_LINGER_SECONDS = 10.0
"""How long the rest of a refused body is read and thrown away, so that a client still sending sees the answer."""


class _Disconnect(Exception):  # noqa: N818 - not an error: nobody is left to be answered
    """The caller has gone."""


class _Head:
    """What matters of a request's headers."""

    __slots__ = ("authorization", "has_body", "length", "request_id")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.authorization = b""
        self.request_id = b""
        self.length = -1
        self.has_body = False
        for name, value in headers:
            if name == b"authorization":
                self.authorization = value
            elif name == b"content-length":
                self.length = int(value)  # uvicorn's parser has refused what is no number
                self.has_body = self.length > 0
            elif name == b"transfer-encoding":
                self.has_body = True
            elif name == b"x-ms-request-id" or (name == b"x-ms-client-request-id" and not self.request_id):
                self.request_id = value


class ScoringApp:
    """The ASGI application of one service.

    Args:
        name: the service's name, part of its paths.
        engine: runs the driver.
        max_body_bytes: larger bodies are refused.
        swagger: the service's description as JSON.

    Attributes:
        draining: answers close their connection, so that callers move on to other replicas.
    """

    def __init__(self, name: str, engine: Engine, max_body_bytes: int, swagger: bytes) -> None:
        self.name = name
        self.draining = False
        self._engine = engine
        self._max_body_bytes = max_body_bytes
        self._swagger = swagger
        self._digests: list[str] = []
        prefix = f"/api/v1/service/{name}"
        self._methods: dict[str, dict[str, Callable[..., Awaitable[None]]]] = {
            "/": {"GET": self._health, "HEAD": self._health},
            "/score": {"POST": self._score},
            "/swagger.json": {"GET": self._describe, "HEAD": self._describe},
            f"{prefix}/score": {"POST": self._score},
            f"{prefix}/swagger.json": {"GET": self._describe, "HEAD": self._describe},
        }
        # looks like a UUID, costs a tenth: random once, counted since
        self._id_prefix = (
            f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(2)[1:]}-a{secrets.token_hex(2)[1:]}"
        )
        self._id_counter = count(secrets.randbits(40))

    def set_keys(self, digests: Iterable[str]) -> int:
        """Replaces the keys, given as SHA-256 in hex; no key at all lets everybody in. Returns their number."""
        self._digests = list(digests)
        return len(self._digests)

    def abandon(self) -> int:
        """Answers all calls that have no answer yet that the replica ends; their number."""
        return self._engine.abandon()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served here")
        head = _Head(scope["headers"])
        request_id = self._request_id(head.request_id)
        try:
            await self._endpoint(scope["path"], scope["method"])(head, request_id, receive, send)
        except RequestError as error:
            await self._refuse(error, head, request_id, receive, send)
        except _Disconnect:
            log(f"request {request_id}: the caller has gone")

    def _endpoint(self, path: str, method: str) -> Callable[..., Awaitable[None]]:
        methods = self._methods.get(path)
        if methods is None:
            raise RequestError(
                404, "NotFound", f"there is nothing at {path[:200]}: this is the service {self.name}, POST to /score"
            )
        endpoint = methods.get(method)
        if endpoint is None:
            allowed = ", ".join(methods)
            raise RequestError(
                405, "MethodNotAllowed", f"{method} is not allowed here: use {allowed}", headers={"Allow": allowed}
            )
        return endpoint

    def _request_id(self, given: bytes) -> str:
        if given and len(given) <= 128 and _ID_CHARACTERS.issuperset(given):
            return given.decode("ascii")
        return f"{self._id_prefix}-{next(self._id_counter) & 0xFFFFFFFFFFFF:012x}"

    def _check_key(self, authorization: bytes) -> None:
        """Compares with every key, always all of them, in constant time."""
        if not self._digests:
            return
        scheme, _, key = authorization.partition(b" ")
        digest = sha256(key.strip()).hexdigest()
        right = False
        for known in self._digests:
            right |= hmac.compare_digest(digest, known)
        if not right or scheme.lower() != b"bearer":
            what = "the key is wrong" if authorization else "a key is needed"
            raise RequestError(
                401,
                "Unauthorized",
                f"{what}: send a key of this service as 'Authorization: Bearer <key>'",
                headers={"WWW-Authenticate": f'Bearer realm="{self.name}"'},
            )

    async def _health(self, _head: _Head, request_id: str, _receive: Receive, send: Send) -> None:
        status = "draining" if self.draining else "healthy"
        body = msgspec.json.encode({"status": status, "name": self.name, "calls": self._engine.calls})
        await self._answer(200, body, request_id, send)

    async def _describe(self, head: _Head, request_id: str, _receive: Receive, send: Send) -> None:
        self._check_key(head.authorization)
        await self._answer(200, self._swagger, request_id, send)

    async def _score(self, head: _Head, request_id: str, receive: Receive, send: Send) -> None:
        self._check_key(head.authorization)
        if head.length > self._max_body_bytes:
            raise self._too_large()
        call = self._engine.take(request_id)
        try:
            body = await self._read(call, receive)
        except BaseException:
            self._engine.drop(call)
            raise
        head.has_body = False
        answer = await self._engine.submit(call, body)
        await self._answer(200, answer, request_id, send)

    async def _read(self, call: Call, receive: Receive) -> bytes:
        """The body, of which no more than the limit is ever held."""
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Disconnect
                chunk: bytes = message["body"]
                size += len(chunk)
                if size > self._max_body_bytes:
                    raise self._too_large()
                if not message["more_body"]:
                    return b"".join([*chunks, chunk]) if chunks else chunk
                chunks.append(chunk)
        except asyncio.CancelledError:
            if not call.answered or call.reader is None:
                raise  # somebody else's cancellation, not that of the engine's clock
            call.reader.uncancel()
            if self.draining and monotonic() < call.deadline:
                raise RequestError(503, "ReplicaEnds", "this replica ends: try again") from None
            seconds = f"{self._engine.timeout:g} seconds"
            raise RequestError(408, "RequestTimeout", f"the body did not arrive within {seconds}") from None

    def _too_large(self) -> RequestError:
        limit = self._max_body_bytes
        return RequestError(413, "BodyTooLarge", f"the body is larger than {limit} bytes, the limit of this service")

    async def _answer(self, status: int, body: bytes, request_id: str, send: Send) -> None:
        headers = [_JSON, (b"content-length", b"%d" % len(body)), (b"x-ms-request-id", request_id.encode())]
        if self.draining:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _refuse(self, error: RequestError, head: _Head, request_id: str, receive: Receive, send: Send) -> None:
        """An error as an answer. The caller gets it at once, and can finish sending a body that nobody reads."""
        body = self._error_body(error, request_id)
        headers = [_JSON, (b"content-length", b"%d" % len(body)), (b"x-ms-request-id", request_id.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        log(f"request {request_id}: {error.status} {error.code}: {error.message[:500]}")
        unread = head.has_body
        if unread and 0 < head.length <= _SMALL_BODY:  # cheaper to read than to lose the connection
            unread = not await self._discard(receive)
        if self.draining or unread:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": unread})
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
