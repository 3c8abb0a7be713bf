"""A connection at rest, seen by a clock that runs faster than ours."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

import pytest

from mlmgmt_nb.scoring.calls.admission import Admission
from mlmgmt_nb.scoring.driver.driver import Driver
from mlmgmt_nb.scoring.fast_path.path import RequestPath
from mlmgmt_nb.scoring.http.access.hosts import HostCheck
from mlmgmt_nb.scoring.http.connection import Connection
from mlmgmt_nb.scoring.http.request_log import RequestLog
from mlmgmt_nb.scoring.http.server import ReplicaServer
from mlmgmt_nb.scoring.process.replica import run_in_loop
from mlmgmt_nb.scoring.schema.swagger import service_swagger
from tests.support.waiting import eventually_in_loop

REQUEST = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n[1]"


@pytest.mark.parametrize("switch", ["1", "0"])
def test_connections_that_are_idle_are_closed(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(path: RequestPath) -> int:
        admission = Admission(10, 60.0, path.make_runner)
        await admission.start(lambda: Driver(lambda body: body, None))
        swagger, quiet = service_swagger("s", None, frozenset()), RequestLog(enabled=False)
        app = path.app("s", admission, 1000, swagger, quiet, HostCheck())
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = ReplicaServer(app, {"service": listener}, 10.0, path.connection)
        serving = asyncio.create_task(server.run_until_drained())
        await server.wait_accepting()
        callers = []
        for requests in (0, 1, 2):  # the second request has the head of the first
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(requests):
                writer.write(REQUEST)
                assert (await reader.readuntil(b"\r\n\r\n[1]")).startswith(b"HTTP/1.1 200 OK\r\n")
            callers.append((reader, writer))
        await eventually_in_loop(lambda: len(server.server_state.connections) == 3)
        connections = [one for one in server.server_state.connections if isinstance(one, Connection)]
        now = monotonic()
        for seconds in (0, 70):
            assert [one.check(now + seconds, 10.0) for one in connections] == [""] * 3
            assert not any(one.transport.is_closing() for one in connections)
        assert [one.check(now + 80, 10.0) for one in connections] == [""] * 3
        assert [await asyncio.wait_for(reader.read(), 30) for reader, _ in callers] == [b""] * 3
        server.drain(1.0)
        await serving
        admission.stop()
        return 0

    monkeypatch.setenv("SCORING_FAST_PATH", switch)
    assert run_in_loop(main) == 0


@pytest.mark.parametrize("switch", ["1", "0"])
def test_connections_of_a_socket_that_is_left_end_after_their_next_response(
    switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that is taken over accepts connections elsewhere; no request to it is lost."""

    async def main(path: RequestPath) -> int:
        admission = Admission(10, 60.0, path.make_runner)
        await admission.start(lambda: Driver(lambda body: body, None))
        swagger, quiet = service_swagger("s", None, frozenset()), RequestLog(enabled=False)
        app = path.app("s", admission, 1000, swagger, quiet, HostCheck())
        names = ("candidate", "private", "service")
        listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        server = ReplicaServer(app, listeners, 10.0, path.connection)
        serving = asyncio.create_task(server.run_until_drained())
        await server.wait_accepting()

        async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(REQUEST)
            return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n[1]"), 10)

        left = await asyncio.open_connection("127.0.0.1", ports["candidate"])
        kept = await asyncio.open_connection("127.0.0.1", ports["private"])
        waiting = await asyncio.open_connection("127.0.0.1", ports["service"])
        assert [b"connection: close" in await call(*one) for one in (left, kept)] == [False, False]
        caller = socket.create_connection(("127.0.0.1", ports["candidate"]))
        server._open["candidate"].acceptor.accept_waiting()  # accepted, but not connected before the loop runs again
        await server.accept(["service", "private"])
        just_accepted = await asyncio.open_connection(sock=caller)
        callers = (left, just_accepted, kept, waiting)
        assert [b"connection: close" in await call(*one) for one in callers] == [True, True, False, False]
        assert [await one[0].read() for one in (left, just_accepted)] == [b"", b""]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ports["candidate"])
        server.drain(1, idle_seconds=0.0)
        assert await serving
        admission.stop()
        return 0

    monkeypatch.setenv("SCORING_FAST_PATH", switch)
    assert run_in_loop(main) == 0
