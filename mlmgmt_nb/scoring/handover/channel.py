"""Connections as messages: the bytes that were read from them, and the descriptor of their socket.

Between the front door and the replicas of a service is one pair of sockets. All replicas have the same end: one of them
takes a message, as with connections at a listening socket.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import NamedTuple

__all__ = ["IS_SUPPORTED", "Handed", "channel_pair", "receive", "send"]

IS_SUPPORTED = hasattr(socket, "SOCK_SEQPACKET") and hasattr(socket, "MSG_CMSG_CLOEXEC")
"""Whether this system has messages with descriptors that arrive whole and once. macOS does not."""
_LARGEST = 2**20
"""Maximum bytes of a message; more than an event loop reads at once."""
_INT = struct.Struct("i")
_MARK = b"\0"
"""Begins each message, because an empty message would mean the end of the stream."""


class Handed(NamedTuple):
    """A connection: the descriptor of its socket, and the bytes that were read from it but not handled."""

    descriptor: int
    data: bytes


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return the end of the front door and the end of the replicas."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
        end.setblocking(False)
    return ends


def send(end: socket.socket, descriptor: int, data: bytes) -> None:
    """Send a connection to the other end. The caller closes its own descriptor.

    Raises:
        BlockingIOError: too many messages wait there.
        OSError: the channel has ended, or the data is too large.
    """
    socket.send_fds(end, [_MARK, data], [descriptor])


def receive(end: socket.socket) -> Handed | None:
    """Return the next connection; None if the channel has ended.

    Raises:
        BlockingIOError: none waits.
        OSError: this end is closed, or a connection is lost because this process has too many open files.
    """
    # not `socket.recv_fds`, which ignores its flags: children of a driver would inherit the connection
    message, parts, flags, _ = end.recvmsg(_LARGEST, socket.CMSG_LEN(_INT.size), socket.MSG_CMSG_CLOEXEC)
    if not message:
        return None
    descriptors = [_INT.unpack(data)[0] for *_, data in parts]
    if not descriptors:
        raise OSError(errno.EMFILE, "a connection from the other end is lost: too many open files")
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        raise OSError("a message from the other end was cut off")
    return Handed(descriptors[0], message[len(_MARK) :])
