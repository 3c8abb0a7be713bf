"""Clients of the API that send or receive slowly, seen by a clock that runs faster than ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from mlmgmt_nb.service.api.connection import ApiConnection
from mlmgmt_nb.service.http.body_socket import TAKE_BODY
from tests.support.waiting import eventually_in_loop

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
ANSWER = b"x" * 40_000_000
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, then answer with a stream; `/unread` answers at once, `/busy` does neither."""
    if scope["path"] == "/busy":
        await asyncio.Event().wait()
    if scope["path"] == "/taken":
        await _read_in_a_thread(scope, send)
        return
    more = scope["path"] != "/unread"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    size = len(ANSWER) if scope["path"] == "/large" else 1
    for begin in range(0, size, 2**18):
        await send({"type": "http.response.body", "body": ANSWER[begin : min(begin + 2**18, size)], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _read_in_a_thread(scope: Any, send: Any) -> None:
    body = scope["state"][TAKE_BODY]()
    with contextlib.suppress(ConnectionResetError):
        size = await asyncio.to_thread(lambda: sum(map(len, body.parts())))
        headers = [(b"connection", b"close"), (b"content-length", b"%d" % len(str(size)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": str(size).encode()})
    body.close()


def with_connection(act: Callable[[ApiConnection, Client], Awaitable[None]]) -> None:
    """Act on both ends of a connection to a server of `app`."""

    async def main() -> None:
        config = uvicorn.Config(app, http=ApiConnection, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([listener]))
        client = socket.socket()
        for end, option in ((listener, socket.SO_SNDBUF), (client, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, option, 2**16)  # so that little of an answer is in the kernel
        client.connect(listener.getsockname())
        reader, writer = await asyncio.open_connection(sock=client, limit=2**16)
        await eventually_in_loop(lambda: bool(server.server_state.connections))
        (connection,) = server.server_state.connections
        assert isinstance(connection, ApiConnection)
        await act(connection, (reader, writer))
        writer.close()
        server.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(main(), 60))


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """Return what arrives until the connection ends, in whatever way."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


BODIES = {
    "a length": b"Content-Length: 9\r\n\r\n[",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n",
    "a part of a chunk": b"Transfer-Encoding: chunked\r\n\r\n9\r\n[",
    "nothing": b"Content-Length: 9\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_does_not_arrive(body: str) -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(HEAD + BODIES[body])
        await eventually_in_loop(lambda: connection.cycle is not None)
        await asyncio.sleep(0)  # the task of the request begins to read
        for seconds in (0, 50):
            connection.check(seconds)
            assert not connection.transport.is_closing()
        connection.check(61)
        answer = await end_of(client[0])
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"RequestTimeout" in answer

    with_connection(act)


def test_a_body_that_arrives_slowly_but_does() -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(HEAD + b"Content-Length: 400000\r\n\r\n")
        await eventually_in_loop(lambda: connection.cycle is not None)
        for number in range(10):
            connection.check(number * 50)
            client[1].write(b"x" * 40_000)
            await eventually_in_loop(lambda sent=number: connection._body_bytes == (sent + 1) * 40_000)  # type: ignore[misc]
        assert (await client[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")

    with_connection(act)


def test_a_body_that_a_thread_reads() -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(b"PATCH /taken HTTP/1.1\r\nHost: x\r\nContent-Length: 4001000\r\n\r\n" + b"x" * 1000)
        for number in range(10):
            client[1].write(b"x" * 400_000)
            await eventually_in_loop(lambda sent=number: _arrived(connection) >= (sent + 1) * 350_000)  # type: ignore[misc]
            connection.check(number * 50)  # slow, but it makes progress
        answer = await end_of(client[0])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n4001000")

    with_connection(act)


def test_a_body_that_a_thread_waits_for_in_vain() -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(b"PATCH /taken HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 400_000)
        await eventually_in_loop(lambda: _arrived(connection) >= 300_000)
        connection.check(0)
        connection.check(61)
        assert (await end_of(client[0])).startswith(b"HTTP/1.1 408 ")

    with_connection(act)


def _arrived(connection: ApiConnection) -> int:
    return connection._body_bytes + (connection._taken.received if connection._taken else 0)


def test_the_rest_of_a_body_that_was_refused() -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(HEAD.replace(b"/", b"/unread", 1) + b"Content-Length: 9\r\n\r\n")
        assert (await client[0].readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        client[1].write(b"[")  # ends the timer of idle connections
        await eventually_in_loop(lambda: connection._body_bytes == 1)
        connection.check(0)
        connection.check(61)
        assert await end_of(client[0]) == b""

    with_connection(act)


def test_an_answer_that_is_not_received() -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(HEAD.replace(b"/", b"/large", 1) + b"Content-Length: 0\r\n\r\n")
        await eventually_in_loop(lambda: connection.flow.write_paused)
        connection.check(0)
        connection.check(61)
        assert len(await end_of(client[0])) < len(ANSWER)

    with_connection(act)


def test_an_answer_that_is_received_slowly_but_is() -> None:
    """Its buffer is always about full: it is refilled as fast as the client reads."""

    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(HEAD.replace(b"/", b"/large", 1) + b"Content-Length: 0\r\n\r\n")
        now = received = 0
        while received < len(ANSWER) // 2:
            now += 10
            connection.check(now)
            assert not connection.transport.is_closing(), received
            for _ in range(16):
                received += len(await client[0].read(2**16))
        assert now > 120

    with_connection(act)


def test_a_client_that_waits_to_be_asked_for_its_body() -> None:
    async def act(connection: ApiConnection, client: Client) -> None:
        client[1].write(HEAD.replace(b"/", b"/busy", 1) + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        await eventually_in_loop(lambda: connection.cycle is not None)
        connection.check(0)
        connection.check(61)
        assert not connection.transport.is_closing()

    with_connection(act)


@pytest.mark.parametrize(("version", "asks"), [("1.1", True), ("1.0", False)])
def test_clients_of_http_1_0_are_not_asked_for_their_body(version: str, asks: bool) -> None:
    async def act(_: ApiConnection, client: Client) -> None:
        head = HEAD.replace(b"1.1", version.encode()) + b"Connection: close\r\nContent-Length: 1\r\n"
        client[1].write(head + b"Expect: 100-continue\r\n\r\nx")
        assert (await end_of(client[0])).startswith(b"HTTP/1.1 100 " if asks else b"HTTP/1.1 200 ")

    with_connection(act)
