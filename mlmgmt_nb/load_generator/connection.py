"""A connection to a service, with an HTTP parser in C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """A connection to a service, and the response that it receives.

    Args:
        on_answer: called with status, content and request id of each answer.
        on_end: called with the reason if the connection ended or the response is not HTTP.
    """

    def __init__(
        self, on_answer: Callable[[Connection, int, bytes, str], None], on_end: Callable[[Connection, str], None]
    ) -> None:
        self._on_answer, self._on_end = on_answer, on_end
        self._parser = httptools.HttpResponseParser(self)
        self._content: list[bytes] = []
        self._id = ""
        self.is_used = self.is_answering = False
        self.is_open = True

    def write(self, request: bytes) -> None:
        """Send a request."""
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection at once."""
        self.is_open = False
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class does not derive from it

    def data_received(self, data: bytes) -> None:
        self.is_answering = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.close()
            self._on_end(self, f"the response is not HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._on_end(self, str(error or "the connection was closed"))

    # the parser's callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 15 and name.lower() == b"x-ms-request-id":
            self._id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._content.append(body)

    def on_message_complete(self) -> None:
        content, request_id = self._content, self._id
        self._content, self._id = [], ""
        self.is_used, self.is_answering = True, False
        if not self._parser.should_keep_alive():
            self.close()
        body = content[0] if len(content) == 1 else b"".join(content)
        self._on_answer(self, self._parser.get_status_code(), body, request_id)
