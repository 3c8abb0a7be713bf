"""A connection that came from the front door: answers plain requests of its service, and returns with all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlmgmt_nb.scoring.handover.heads import plain_head
from mlmgmt_nb.scoring.http.connection import Connection
from mlmgmt_nb.scoring.http.request import FORWARDED

__all__ = ["HandedConnection"]

_FLUSH_SECONDS = 0.02


class HandedConnection(Connection):
    """A connection. Its data is read one request at a time, so that it can return in front of any of them.

    Args:
        service: the name of the service.
        early: data that the front door has read.
        give_back: returns it to the front door, with data that was not handled; called when it is idle.
    """

    def __init__(
        self, *args: Any, service: str, early: bytes, give_back: Callable[[HandedConnection, bytes], None]
    ) -> None:
        super().__init__(*args)
        self._service = service.encode()
        self._early = early
        self._give_back = give_back
        self._missing = 0  # bytes of the body that is being read
        self._held: bytes | None = None  # data with which it returns to the front door

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._early:
            self.loop.call_soon(self.data_received, b"")

    def data_received(self, data: bytes) -> None:
        if self._early:
            data, self._early = self._early + data, b""
        while data and not self.transport.is_closing():
            if self._missing:
                size = self._missing
            elif self._held is not None:
                self._held += data
                break
            elif (head := plain_head(data)) is not None and head.service == self._service:
                size = head.size + head.body
            else:
                self._held = data
                break
            part = data[:size] if len(data) > size else data
            self._missing = size - len(part)
            data = data[size:]
            super().data_received(part)
        if self._held is not None:
            self._return_if_idle()

    def go_back(self) -> None:
        """Return to the front door, after the response to the current request if there is one."""
        if self._held is None:
            self._held, self._early = self._early, b""
        self._return_if_idle()

    def on_headers_complete(self) -> None:
        self.scope[FORWARDED] = True  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held is not None:
            self._return_if_idle()

    def _return_if_idle(self) -> None:
        assert self._held is not None
        if self.transport is None or self.transport.is_closing():
            return
        is_busy = self._missing or self.pipeline or not self._is_idle()
        if not is_busy and not self.transport.get_write_buffer_size():
            self._give_back(self, self._held)
            return
        if self._held:  # further data would only pile up here
            self.flow.pause_reading()
        if not is_busy:  # its caller has not received the answer
            self.loop.call_later(_FLUSH_SECONDS, self._return_if_idle)
