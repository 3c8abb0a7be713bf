"""Forwards connections of a service to a replica that cannot receive the listening socket itself.

This happens when the engine runs on another kernel: in the virtual machine of Docker Desktop, or on another machine.
Bytes are forwarded unchanged, so the replica handles everything about HTTP. The forwarder of a replica only accepts
connections while the replica is ready, beside the forwarders of other replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

__all__ = ["Forwarder", "copy_stream"]

_BACKLOG = 1024
_CHUNK = 2**19
"""More than a stream buffers: each read returns all that has arrived."""


class Forwarder:
    """A forwarder with its own thread.

    Args:
        listener: the service's listening socket.
        target: address and port of the replica.
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
        """Start to accept connections."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop)

    def stop_accepting(self) -> None:
        """Stop accepting; existing connections continue."""
        self._loop.call_soon_threadsafe(self._shut)

    def close(self) -> None:
        """End all connections and the thread."""
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
            # The server's own socket object: `_shut` only closes this one.
            self._server = await asyncio.start_server(self._accepted, sock=self._listener.dup(), backlog=_BACKLOG)

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        # asyncio sets this only for sockets with a named protocol; otherwise, responses in two parts take 40 ms more.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:  # by `close`; the cleanup is below
            pass
        finally:
            self._relays.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:  # the replica just ended: others accept the next connections
            self._shut()
            return
        try:
            await asyncio.gather(copy_stream(reader, there_writer), copy_stream(there_reader, writer))
        except ConnectionError:
            return
        finally:
            there_writer.close()


async def copy_stream(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, on_data: Callable[[bytes], None] = lambda _: None
) -> None:
    """Copy bytes until the source ends; then end the target.

    Args:
        on_data: called with all that has arrived, before it is copied.
    """
    while data := await source.read(_CHUNK):
        on_data(data)
        target.write(data)
        await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()
