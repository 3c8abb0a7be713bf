"""Connect a replica in a container to its supervisor, and get its listening sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

__all__ = ["control_over_stdio", "receive_listeners"]

_CHUNK = 65536
_MOST_SOCKETS = 8


def control_over_stdio() -> int:
    """Make the standard input and output the control channel, and return the descriptor of its end.

    From then on, the output of the driver goes to the standard error.
    """
    commands, reports = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    outer, inner = socket.socketpair()
    threading.Thread(target=_forward_commands, args=(commands, outer), name="commands", daemon=True).start()
    # not a daemon thread: the last reports are sent before the process ends
    threading.Thread(target=_forward_reports, args=(outer, reports), name="reports").start()
    return inner.detach()


def _forward_commands(commands: int, outer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(commands, _CHUNK):
            outer.sendall(data)
        outer.shutdown(socket.SHUT_WR)


def _forward_reports(outer: socket.socket, reports: int) -> None:
    with contextlib.suppress(OSError):
        while data := outer.recv(_CHUNK):
            os.write(reports, data)


def receive_listeners(path: str) -> list[socket.socket]:
    """Return the listening sockets that a process passes through a UNIX socket.

    Raises:
        OSError: no process listens there, or it passes no socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, _MOST_SOCKETS)
    if not descriptors:
        raise OSError(f"no socket was passed through {path}")
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
