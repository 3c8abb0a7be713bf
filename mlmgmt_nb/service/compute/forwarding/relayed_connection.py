"""A connection of a caller that is forwarded to a pod, until one side ends or the connection gets another owner."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable

from mlmgmt_nb.service.compute.forwarding.forwarder import copy_stream

__all__ = ["RelayedConnection", "Stream", "Take", "TakenError"]

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Take = Callable[[socket.socket, bytes], bool]
"""Takes a connection, and the data that was read of its next request. Returns False if it does not take it."""

_QUIET_SECONDS = 2.0
"""Seconds after which a response without further data counts as complete: its bytes are not interpreted."""
_REQUEST = re.compile(rb"[A-Z]+ /")


class TakenError(Exception):
    """The connection has another owner."""


class RelayedConnection:
    """A connection.

    Args:
        caller: its end here.
        pod: the connection to a pod.
        find_taker: returns the function that takes the connection at the beginning of its next request; None to keep
            it.
    """

    def __init__(self, caller: Stream, pod: Stream, find_taker: Callable[[], Take | None]) -> None:
        self._reader, self._writer = caller
        self._pod_reader, self._pod_writer = pod
        self._find_taker = find_taker
        self._is_answered = False
        self._last_at: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress, as far as bytes show: no data was sent, or a response is complete."""
        if self._last_at is None:
            return True
        return self._is_answered and time.monotonic() - self._last_at >= _QUIET_SECONDS

    async def run(self) -> None:
        """Forward until one side ends.

        Raises:
            OSError: one side is lost.
            TakenError: the connection has another owner.
        """
        responses = asyncio.create_task(copy_stream(self._pod_reader, self._writer, self._on_response))
        try:
            await asyncio.gather(copy_stream(self._reader, self._pod_writer, self._on_request), responses)
        finally:
            # Before its end, since that of the pod's connection would also end the caller's, for its next owner too.
            responses.cancel()
            self._pod_writer.close()

    def _on_response(self, _data: bytes) -> None:
        self._is_answered = True
        self._last_at = time.monotonic()

    def _on_request(self, data: bytes) -> None:
        """Let others take the connection if a request begins.

        A caller sends its next request after the response, so what follows a response is the beginning of a request.
        A caller that sends anything else harms only itself: the new owner of the connection checks its keys.
        """
        take = self._find_taker()
        if take is not None and self._is_answered and _REQUEST.match(data):
            self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # of transports for sockets
            connected = socket.socket(fileno=socket.dup(self._writer.get_extra_info("socket").fileno()))
            if take(connected, data):
                raise TakenError
            connected.close()
            self._writer.transport.resume_reading()  # type: ignore[attr-defined]
        self._is_answered = False
        self._last_at = time.monotonic()
