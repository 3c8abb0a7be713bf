"""HTTP messages on bare ASGI: requests, replies, and bodies of limited size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from mlmgmt_nb.contract.limits import MAX_BODY_BYTES
from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.decoding import as_utf8, inflater, most_encoded
from mlmgmt_nb.service.http.body_socket import TAKE_BODY, BodySocket
from mlmgmt_nb.service.http.problems import Problem, bad_field

__all__ = ["Receive", "Reply", "Request", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Request:
    """A request: `method`, `segments` of the path (decoded), `query`, headers by lower-case name, client `address`.

    Attributes:
        ends_connection: whether its response has to end the connection.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.headers = _joined(scope["headers"])
        # The raw path: an encoded slash belongs to its segment.
        raw: bytes = scope["raw_path"].partition(b"?")[0]
        self.segments = tuple(unquote(part) for part in raw.decode("latin-1").strip("/").split("/"))
        client = scope.get("client")
        self.address: str = client[0] if client else ""
        self._query_string: bytes = scope["query_string"]
        self._receive = receive
        self._take_body: Callable[[], BodySocket | None] | None = scope.get("state", {}).get(TAKE_BODY)
        self.ends_connection = False

    def take_body(self) -> BodySocket | None:
        """Return the rest of the body, to read in a thread; None if it has to be read with `chunks`."""
        body = self._take_body() if self._take_body is not None else None
        self.ends_connection = body is not None
        return body

    def query(self) -> dict[str, str]:
        """Return the parameters of the query.

        Raises:
            Problem: 400, when a parameter has two different values.
        """
        pairs = parse_qsl(self._query_string.decode("latin-1"), keep_blank_values=True)
        values: dict[str, str] = {}
        for name, value in pairs:
            # Some clients add the api-version to a nextLink that already has it.
            if values.setdefault(name, value) != value:
                raise bad_field(name, "is given more than once, with different values; send it once.")
        return values

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            ConnectionResetError: the client disconnected before its end.
        """
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client disconnected")
            more = message.get("more_body", False)
            if body := message.get("body", b""):
                yield body

    async def json(self) -> bytes:
        """Return the JSON body of a request, not decoded yet.

        Raises:
            Problem: 413 when it is too large, 415 when it has another media type or an unknown content coding.
        """
        content_type = self.headers.get("content-type", "application/json")
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise Problem(
                415, "UnsupportedMediaType", f"The media type {media_type!r} is not supported; send application/json."
            )
        try:
            return as_utf8(await self._decoded(), content_type.encode("latin-1"))
        except RequestError as error:
            raise Problem(error.status, error.code, f"{error}.", headers=error.headers) from None

    async def _decoded(self) -> bytes:
        """Return the body without its content coding."""
        decoder = inflater(self.headers.get("content-encoding", "").encode("latin-1"))
        body, left = bytearray(), most_encoded(MAX_BODY_BYTES)
        async for chunk in self.chunks():
            left -= len(chunk)
            for part in decoder.feed(chunk) if decoder else (chunk,):
                body += part
                if len(body) > MAX_BODY_BYTES:
                    break
            if left < 0 or len(body) > MAX_BODY_BYTES:
                raise Problem(413, "BodyTooLarge", f"The body is larger than the maximum of {MAX_BODY_BYTES} bytes.")
        if decoder:
            decoder.finish()
        return bytes(body)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name. The values of a repeated header are joined to a list (RFC 9110, section 5.3)."""
    values: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers):
        values[name] = f"{values[name]}, {value}" if name in values else value
    return values


class Reply:
    """A response. `body` is None, bytes, an iterator of bytes, or a value to encode as JSON."""

    def __init__(
        self,
        status: int,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        self.status = status
        self.code = ""  # the error code, for errors
        self.headers = dict(headers or {})
        self._chunks: Iterator[bytes] | None = None
        self._body = b""
        if isinstance(body, Iterator):
            self._chunks = body
        elif body is not None:
            self._body = body if isinstance(body, bytes) else msgspec.json.encode(body)
        if body is not None:
            self.headers.setdefault("content-type", media_type)
        if self._chunks is None and status != HTTPStatus.NO_CONTENT:
            self.headers["content-length"] = str(len(self._body))

    @classmethod
    def of(cls, problem: Problem) -> Reply:
        reply = cls(problem.status, problem.response, problem.headers)
        reply.code = problem.response.code or ""
        return reply

    @property
    def body(self) -> bytes:
        """Return the body; empty if there is none, or if it is streamed."""
        return self._body

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send the response; with `head`, only its headers."""
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self._chunks is not None and not head:
            # In threads, because each chunk is read from a disk or a database.
            while (chunk := await asyncio.to_thread(next, self._chunks, None)) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if head else self._body})
