"""Connections that are used once a replica has answered at them, through sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mlmgmt_nb.service.compute.forwarding.probing import Streams, first_to_answer

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the health check, and then what comes."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEALTHY)
    writer.write(await reader.read(100))
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a connection for a machine that is lost."""
    await reader.read()
    writer.close()


async def ending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEALTHY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    writer.close()


@pytest.mark.parametrize("other", [silent, ending])
def test_a_replica_that_does_not_answer_gets_no_request(other: Handler) -> None:
    async def main() -> None:
        async with listening(other) as lost, listening(echo) as here:
            turns = iter([lost, here])

            async def connect() -> Streams:
                return await asyncio.open_connection(*next(turns))

            reader, writer = await first_to_answer(connect, 10)
            writer.write(b"request")
            assert await reader.read() == b"request"
            writer.close()

    asyncio.run(main())


def test_a_replica_that_answers_late_is_waited_for() -> None:
    """It is not flooded with checks meanwhile."""
    connected: list[asyncio.StreamWriter] = []

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        if len(connected) == 1:
            await asyncio.sleep(6)  # longer than all attempts take
            await echo(reader, writer)
        else:
            await silent(reader, writer)

    async def main() -> None:
        async with listening(late) as here:
            reader, writer = await first_to_answer(lambda: asyncio.open_connection(*here), 30)
            writer.write(b"request")
            assert await reader.read() == b"request"
            writer.close()
            assert len(connected) <= 4

    asyncio.run(main())


def test_without_any_replica_the_last_reason_is_told() -> None:
    async def main() -> None:
        async with listening(silent) as gone:
            pass
        with pytest.raises(OSError, match="Connect call failed"):
            await first_to_answer(lambda: asyncio.open_connection(*gone), 0.5)

    asyncio.run(main())
