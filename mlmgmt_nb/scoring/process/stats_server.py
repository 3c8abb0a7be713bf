"""The counters of a replica in a cluster, on a port of their own: `GET /` returns them as JSON.

The port needs no key, so it must not be exposed beyond the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from mlmgmt_nb.scoring.calls.admission import Stats

__all__ = ["serve_stats"]

_SECONDS = 5.0
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"


async def serve_stats(host: str, port: int, stats: Callable[[], Stats]) -> None:
    """Answer every request with the current counters, until it is cancelled.

    Raises:
        OSError: the port cannot be used.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                body = msgspec.json.encode(stats())
                writer.write(_HEAD.format(len(body)).encode() + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    async with server:
        await server.serve_forever()
