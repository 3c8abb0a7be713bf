"""Write the JSON result of a call in one piece, without ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlmgmt_nb.scoring.http.recording import RecordingResponder
from mlmgmt_nb.scoring.http.request import Request
from mlmgmt_nb.scoring.http.responses import Responder, id_lines

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

__all__ = ["FastRecordingResponder", "FastResponder"]


class FastResponder(Responder):
    """Writes the responses of one service."""

    _default_lines: tuple[object, bytes] = (None, b"")

    def can_write(self, cycle: RequestResponseCycle) -> bool:
        """Return whether `write` can send a response at once."""
        return not (self.draining or self.closing) and cycle.keep_alive and not cycle.flow.write_paused

    def write(self, cycle: RequestResponseCycle, request: Request, body: bytes) -> None:
        """Write the JSON result of `run` in one piece, unless the caller hung up."""
        if not cycle.disconnected:
            cycle.transport.write(
                b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n%b%bcontent-type: application/json\r\n\r\n%b"
                % (self._default_headers(cycle), len(body), id_lines(request), _run_lines(request), body)
            )
            cycle.response_started = cycle.response_complete = True
            cycle.on_response()
        self.log(request, 200, body)

    def _default_headers(self, cycle: RequestResponseCycle) -> bytes:
        """Return uvicorn's own headers as lines. It renews them about once a second."""
        if self._default_lines[0] is not cycle.default_headers:
            lines = (b"%b: %b\r\n" % header for header in cycle.default_headers)
            self._default_lines = cycle.default_headers, b"".join(lines)
        return self._default_lines[1]


class FastRecordingResponder(RecordingResponder, FastResponder):
    """Writes the responses of a service whose requests are recorded."""


def _run_lines(request: Request) -> bytes:
    """Return the header lines about a call of `run` that succeeded."""
    milliseconds = b"%.3f" % (request.run_seconds * 1000)
    return b"x-ms-run-fn-exec-ms: %b\r\nx-ms-run-function-failed: False\r\n" % milliseconds
