"""Forwards connections from the ports of services here to their pods, in one thread.

Bytes are forwarded unchanged, so the pods handle everything about HTTP, keys too. While a service is diverted, the
router accepts its connections, and takes existing ones over at the beginning of their next request.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from mlmgmt_nb.service.compute.forwarding.probing import Streams, first_to_answer
from mlmgmt_nb.service.compute.forwarding.relayed_connection import RelayedConnection, Take, TakenError
from mlmgmt_nb.service.compute.unavailable import refuse

__all__ = ["Relay", "Target", "Wait"]

_BACKLOG = 1024
_ANSWER_SECONDS = 30.0
"""Seconds until a pod has to answer. A cluster needs a part of this time to notice that a node is lost."""
_PAUSE_SECONDS = 0.1
_CHUNK = 2**16
_REQUEST_SECONDS = 2.0
"""Seconds to wait for a request that is refused."""
_STOPPING = "The Model Management service is being stopped, or its settings of the cluster have changed."
_WAIT_SECONDS = 300.0
"""Seconds that a connection waits for the first pod of a service."""


class Target(NamedTuple):
    """The way to the pods of a service.

    Attributes:
        shown: the way, for people.
        address: host and port, or
        connect: returns a connected socket; may be slow.
    """

    shown: str
    address: tuple[str, int] | None = None
    connect: Callable[[], socket.socket] | None = None


class Wait(NamedTuple):
    """The way to pods is not known yet: connections wait for it."""

    reason: str


class _ChangedError(Exception):
    """The way to pods has changed: they may sleep now."""


class Relay:
    """The listening sockets of services, and where their connections go.

    Args:
        on_waiting: called when a connection waits.
    """

    def __init__(self, on_waiting: Callable[[], None]) -> None:
        self._on_waiting = on_waiting
        self._waiting: Counter[str] = Counter()
        self._targets: dict[str, Target | Wait | str] = {}
        self._servers: dict[tuple[str, bool], asyncio.Server] = {}
        self._takers: dict[str, Take] = {}
        self._relays: dict[asyncio.Task[None], RelayedConnection | None] = {}  # None until it has a pod
        self._is_draining = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def listen(self, service_id: str, listener: socket.socket, *, is_private: bool = False) -> None:
        """Accept the connections of a service from now on.

        Args:
            is_private: whether this is a second socket of the service, whose connections are never diverted.
        """
        self._targets.setdefault(service_id, Wait("No pod of this service is ready yet."))
        if not is_private:
            self._takers.pop(service_id, None)
        given = listener.dup()
        asyncio.run_coroutine_threadsafe(self._listen((service_id, is_private), given), self._loop).result()

    def divert(self, service_id: str, take: Take) -> None:
        """Leave the connections of a service to others, until `listen` is called again."""
        self._takers[service_id] = take
        self._loop.call_soon_threadsafe(self._close, (service_id, False))

    def set_target(self, service_id: str, target: Target | Wait | str) -> None:
        """Set the way to the pods of a service, or the reason why there is none."""
        if service_id in self._targets and not self._is_draining:
            self._targets[service_id] = target

    def target_of(self, service_id: str) -> Target | Wait | str | None:
        return self._targets.get(service_id)

    def has_waiting(self, service_id: str) -> bool:
        """Return whether a connection of a service waits."""
        return self._waiting[service_id] > 0

    def close(self, service_id: str) -> None:
        """Stop accepting connections of a service; existing ones continue."""
        self._targets.pop(service_id, None)
        self._takers.pop(service_id, None)
        for is_private in (False, True):
            self._loop.call_soon_threadsafe(self._close, (service_id, is_private))

    def drain(self, seconds: float) -> None:
        """Stop accepting connections, and return immediately. The thread ends after the requests in progress.

        Args:
            seconds: time limit for these requests. Later calls do not change it.
        """
        if self._is_draining:
            return
        self._is_draining = True
        asyncio.run_coroutine_threadsafe(self._drain(seconds), self._loop)

    def join(self) -> None:
        """Wait until all connections have ended."""
        self._thread.join()

    def stop(self) -> None:
        """End all connections and the thread."""
        self.drain(0.0)
        self.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for relay in list(self._relays):
            relay.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._relays, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _drain(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        try:
            for key in list(self._servers):
                self._close(key)
            for service_id, target in list(self._targets.items()):
                if isinstance(target, Wait):
                    self._targets[service_id] = _STOPPING
            while True:
                # At least once: the requests of connections that were just accepted are read meanwhile.
                await asyncio.sleep(_PAUSE_SECONDS)
                if self._loop.time() >= deadline or all(known and known.is_idle for known in self._relays.values()):
                    break
        finally:
            self._loop.stop()

    async def _listen(self, key: tuple[str, bool], listener: socket.socket) -> None:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accepted(key, reader, writer)

        self._servers[key] = await asyncio.start_server(accepted, sock=listener, backlog=_BACKLOG)

    def _close(self, key: tuple[str, bool]) -> None:
        if server := self._servers.pop(key, None):
            for listener in server.sockets:
                self._loop.remove_reader(listener.fileno())
            # asyncio loses connections that it accepted in this turn of the loop if their server is closed in it.
            self._loop.call_soon(server.close)

    async def _accepted(
        self, key: tuple[str, bool], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays[task] = None
        # asyncio sets this only for sockets with a named protocol; otherwise, responses in two parts take 40 ms more.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._relay(task, key, (reader, writer))
        except (asyncio.CancelledError, OSError, TakenError):  # by `stop`, or because one side ended
            pass
        finally:
            del self._relays[task]
            writer.close()

    async def _relay(self, task: asyncio.Task[None], key: tuple[str, bool], caller: Streams) -> None:
        try:
            pod = await self._connected(key[0])
        except OSError as error:
            await self._refuse(caller, str(error))
            return
        relayed = self._relays[task] = RelayedConnection(caller, pod, lambda: self._taker(key))
        await relayed.run()

    def _taker(self, key: tuple[str, bool]) -> Take | None:
        """Return the function that takes the next request of a connection, or None to keep it."""
        service_id, is_private = key
        if self._is_draining:
            return self._turn_away
        return None if is_private else self._takers.get(service_id)

    def _turn_away(self, connected: socket.socket, _read: bytes) -> bool:
        """Answer 503 to a request that arrives too late."""
        self._loop.run_in_executor(None, partial(refuse, connected, _STOPPING, is_read=True))
        return True

    async def _connected(self, service_id: str) -> Streams:
        """Connect to a pod that answers.

        Raises:
            OSError: no pod is ready, or none answers.
        """
        while True:
            target = await self._awaited(service_id)
            try:
                return await first_to_answer(lambda: self._open(service_id), _ANSWER_SECONDS)
            except _ChangedError:
                continue
            except OSError as error:
                raise OSError(f"The pods cannot be reached by {target.shown}: {error}.") from error

    async def _open(self, service_id: str) -> Streams:
        target = self._targets.get(service_id)
        if not isinstance(target, Target):
            raise _ChangedError
        return await _open(target)

    async def _awaited(self, service_id: str) -> Target:
        """Return the way to the pods of a service; wait for it if it comes.

        Raises:
            OSError: there is none.
        """
        deadline = self._loop.time() + _WAIT_SECONDS
        self._waiting[service_id] += 1
        try:
            while isinstance(target := self._targets.get(service_id, "This service is being deleted."), Wait):
                if self._loop.time() > deadline:
                    raise OSError(target.reason)
                self._on_waiting()
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._waiting[service_id] -= 1
        if isinstance(target, str):
            raise OSError(target)
        return target

    async def _refuse(self, caller: Streams, message: str) -> None:
        """Answer 503, on a duplicate of the socket: the answer has to be read before the connection ends."""
        reader, writer = caller
        # Here, since the beginning of a request may have been read while its connection waited.
        if not await asyncio.wait_for(reader.read(_CHUNK), _REQUEST_SECONDS):
            return
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection = socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno()))
        await self._loop.run_in_executor(None, partial(refuse, connection, message, is_read=True))


async def _open(target: Target) -> Streams:
    if target.address is not None:
        return await asyncio.open_connection(*target.address)
    assert target.connect is not None
    connected = await asyncio.get_running_loop().run_in_executor(None, target.connect)
    connected.setblocking(False)
    return await asyncio.open_connection(sock=connected)
