"""Connections on which a replica has answered.

A cluster still lists a lost node or pod for a while: connections to it are accepted by something in between, or never.
So a connection is used for a request only after a replica has answered a health check on it. Until then, no part of the
request has been sent, and another attempt is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable

__all__ = ["Streams", "first_to_answer"]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_ATTEMPT_SECONDS = 1.0
"""Seconds after which another connection is tried beside those that have not answered."""
_MOST_ATTEMPTS = 4
"""Maximum number of connections without an answer: more attempts would add load to a replica that is slow because it is
busy."""
_REFUSED_SECONDS = 0.1
_CHECK = b"GET / HTTP/1.1\r\nHost: replica\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_MOST_BODY = 2**16
_IDLE_SECONDS, _PROBE_SECONDS, _PROBES = 10, 5, 3
"""TCP keep-alive: the other side of a connection is lost if it does not acknowledge anything for 25 s."""


async def first_to_answer(connect: Callable[[], Awaitable[Streams]], seconds: float) -> Streams:
    """Return a connection on which a replica has answered.

    Args:
        connect: makes a connection, to any replica. Errors other than OSError end the search.
        seconds: time limit.

    Raises:
        OSError: no replica answered in time; the reason is that of the last attempt.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    attempts: set[asyncio.Task[Streams]] = set()
    reason = OSError("no response")
    try:
        while loop.time() < deadline:
            if len(attempts) < _MOST_ATTEMPTS:
                attempts.add(loop.create_task(_answered(connect)))
            done, attempts = await asyncio.wait(attempts, timeout=_ATTEMPT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            answered = [each for each in done if not isinstance(each.exception(), OSError)]
            if answered:
                attempts.update(answered[1:])
                return answered[0].result()
            if done:
                reason = OSError(str(done.pop().exception()))
                await asyncio.sleep(_REFUSED_SECONDS)
        raise reason
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close)
            attempt.cancel()


def _close(attempt: asyncio.Task[Streams]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[1].close()


async def _answered(connect: Callable[[], Awaitable[Streams]]) -> Streams:
    reader, writer = await connect()
    try:
        _keep_alive(writer.get_extra_info("socket"))
        writer.write(_CHECK)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None or int(length[1]) > _MOST_BODY:
            raise OSError(f"unexpected response to a health check: {head[:40]!r}")
        await reader.readexactly(int(length[1]))
        if _CLOSES.search(head):
            raise OSError("the replica is about to end")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise OSError("the connection ended without a response to a health check") from error
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _keep_alive(connected: socket.socket) -> None:
    """Let the connection end if the other machine is lost."""
    with contextlib.suppress(OSError, AttributeError):  # not every system has all of these
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        milliseconds = 1000 * (_IDLE_SECONDS + _PROBE_SECONDS * _PROBES)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
