"""uvicorn's HTTP/1.1 protocol, for every listener of mlmgmt-nb: offers to upgrade are ignored, trailers are dropped.

RFC 9110 (7.8) lets a server ignore `Upgrade` and answer the request as it is. The parser cannot: it takes whatever
follows the head for another protocol. So a head with an offer is read a second time without it, by a parser of its own.
"""

from __future__ import annotations

from http import HTTPMethod

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HttpProtocol"]


class HttpProtocol(HttpToolsProtocol):
    """A connection."""

    _head_is_read = False
    """The parser is behind the head of a request: further headers are trailers."""

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
        """Read the head that the parser has just read, without its offer.

        Raises:
            HttpParserError: it asks for a tunnel (CONNECT), which is not an offer.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == HTTPMethod.CONNECT.encode():
            raise httptools.HttpParserError("CONNECT")
        kept = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version.encode(), kept)
        self.parser = httptools.HttpRequestParser(self)
        # as uvicorn's: what follows a request that closes its connection is not an error
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_is_read = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_read:
            super().on_header(name, value.rstrip(b" \t"))  # what the parser leaves of the white space around it

    def on_headers_complete(self) -> None:
        self._head_is_read = True
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self.on_request_read()

    def on_request_read(self) -> None:
        """Called when a request has arrived whole, its body too."""

    def _should_upgrade(self) -> bool:
        return False
