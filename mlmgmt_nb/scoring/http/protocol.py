"""uvicorn's HTTP/1.1 protocol for every listener of mlmgmt-nb: ignores `Upgrade`, drops trailers, counts progress.

RFC 9110 (7.8) lets a server ignore `Upgrade` and answer the request as it is. The parser cannot: it treats
whatever follows the head as another protocol. So a head with `Upgrade` is parsed a second time without it.
"""

from __future__ import annotations

from http import HTTPMethod

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HttpProtocol"]


class HttpProtocol(HttpToolsProtocol):
    """A connection."""

    requests = 0
    """Number of requests that have begun on this connection."""
    drains = 0
    """How often the client has received most of the data that was waiting for it."""
    _head_is_read = False
    """The head of the request has been parsed: further headers are trailers."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._read_again()
                data = memoryview(data)[offer.args[0] :]
            else:
                return

    def _read_again(self) -> None:
        """Parse the head again without its `Upgrade` header.

        Raises:
            HttpParserError: it asks for a tunnel (CONNECT), which cannot be ignored.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == HTTPMethod.CONNECT.encode():
            raise httptools.HttpParserError("CONNECT")
        kept = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version.encode(), kept)
        self.parser = httptools.HttpRequestParser(self)
        # same as uvicorn: data that follows a request that closes its connection is not an error
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(head)

    def _in_head(self) -> bool:
        """Return whether a request has begun but its head is incomplete."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.drains += 1

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.requests += 1
        self._head_is_read = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_read:
            super().on_header(name, value.rstrip(b" \t"))  # the parser leaves white space at the end

    def on_headers_complete(self) -> None:
        self._head_is_read = True
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # clients of HTTP/1.0 do not know this response
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self.on_request_read()

    def on_request_read(self) -> None:
        """React to the end of a request, including its body; a hook for subclasses."""

    def _should_upgrade(self) -> bool:
        return False
