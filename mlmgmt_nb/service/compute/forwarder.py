"""Forwards the connections of a service to a replica that cannot be handed the listening socket itself.

That is so when the engine is on another kernel: in the virtual machine of Docker Desktop, or on another machine. Bytes
are passed on as they come, so that everything about HTTP stays the replica's business. A replica's forwarder accepts
only while the replica is ready, next to those of the other replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

__all__ = ["Forwarder"]

_BACKLOG = 1024
_CHUNK = 2**16


class Forwarder:
    """A forwarder, with a thread of its own.

    Args:
        listener: the service's listening socket.
        target: address and port where the replica listens.
    """

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener = listener.dup()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Begins to accept."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop)

    def shut(self) -> None:
        """Accept no more; connections that there are go on."""
        self._loop.call_soon_threadsafe(self._shut)

    def close(self) -> None:
        """End everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._shut()
        for relay in self._relays:
            relay.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._relays, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._listener.close()

    async def _open(self) -> None:
        if self._server is None:
            # A socket object of the server's own: `_shut` closes that one only.
            self._server = await asyncio.start_server(self._accepted, sock=self._listener.dup(), backlog=_BACKLOG)

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        # asyncio does it only for sockets whose protocol is named; without it, an answer in two parts takes 40 ms more.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:  # by `close`, and all that there is to do for it is below
            pass
        finally:
            self._relays.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:  # it has just gone: others take what comes next
            self._shut()
            return
        try:
            await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        except ConnectionError:
            return
        finally:
            there_writer.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()
