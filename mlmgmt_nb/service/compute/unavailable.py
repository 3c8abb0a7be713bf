"""The response of a service without replicas."""

from __future__ import annotations

import contextlib
import socket

import msgspec

from mlmgmt_nb.contract import ErrorResponse

__all__ = ["refuse"]

_SECONDS = 2.0
_MOST_BYTES = 2**20


def refuse(connection: socket.socket, message: str, *, is_read: bool = False) -> None:
    """Answer one request with 503 and close the connection, whatever the request is.

    Args:
        is_read: whether a part of the request was read before.
    """
    error = ErrorResponse(code="NoReplicas", message=message, status_code=503)
    body = msgspec.json.encode(error)
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_SECONDS)
        if not is_read:
            connection.recv(2**16)
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        # Closing a connection with unread bytes resets it, which would lose the response.
        left = _MOST_BYTES
        while left > 0 and (chunk := connection.recv(2**16)):
            left -= len(chunk)
