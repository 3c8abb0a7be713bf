"""Hand connections of callers over to replicas, which then answer them directly, and take back those that return.

A proxy in Python costs five times the CPU of the service's own port. So a connection without TLS whose next request is
plain (`scoring.handover.heads`) is handed over with the data that was read of it. Everything else is forwarded, and so
are all requests when no replica takes connections: none runs, they are containers, or requests are split during a
canary.

If no replica takes a message in time, it is fetched again and its request is forwarded, so that it waits like all
requests for a service without replicas. All methods of `Handover` belong to the event loop of the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from mlmgmt_nb.scoring.handover.channel import IS_SUPPORTED, Handed, channel_pair, receive, send

__all__ = ["Handover", "HandoverChannel", "HandoverChannels", "Offer"]

_PATIENCE_SECONDS = 0.1
"""Seconds after which messages that no replica took are fetched again."""


class HandoverChannel:
    """The two ends of the channel between the front door and the replicas of a service.

    Attributes:
        is_used: whether the front door reads from it; then it closes the channel after the last message.
    """

    def __init__(self) -> None:
        self.own, self.of_replicas = channel_pair()
        self.is_used = False

    def end(self) -> None:
        """Accept no further messages."""
        self.own.shutdown(socket.SHUT_RDWR)
        if not self.is_used:
            self.close()

    def close(self) -> None:
        self.own.close()
        self.of_replicas.close()


class HandoverChannels:
    """The channels by service id.

    Args:
        is_enabled: whether there are channels; without them, every request is forwarded.
    """

    def __init__(self, *, is_enabled: bool) -> None:
        self.is_enabled = is_enabled and IS_SUPPORTED
        self._channels: dict[str, HandoverChannel] = {}
        self._lock = threading.Lock()

    def of(self, service_id: str) -> HandoverChannel:
        """Return the channel of a service. It is opened at the first use."""
        with self._lock:
            if service_id not in self._channels:
                self._channels[service_id] = HandoverChannel()
            return self._channels[service_id]

    def close(self, service_id: str) -> None:
        with self._lock:
            channel = self._channels.pop(service_id, None)
        if channel is not None:
            channel.end()


class Offer(Protocol):
    """A connection that can be handed over."""

    @property
    def descriptor(self) -> int: ...

    def forget(self) -> None:
        """Close the descriptor of this process only: the connection of the caller stays open."""
        ...


Connect = Callable[[bytes, bool], asyncio.Protocol]
"""Makes the protocol of a connection that came back, from the data that was read from it, and whether its next request
may be handed over.
"""


class Handover:
    """The connections that are on their way."""

    def __init__(self) -> None:
        self._connect: Connect | None = None
        self._watched: set[HandoverChannel] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    def start(self, connect: Connect) -> None:
        """Begin, in the event loop of the API."""
        self._connect = connect

    def send(self, channel: HandoverChannel, offer: Offer, data: bytes) -> bool:
        """Hand a connection over to a replica; return False if that is not possible now."""
        if self._connect is None:
            return False
        try:
            self._listen(channel)
            send(channel.own, offer.descriptor, data)
        except OSError:
            return False
        offer.forget()
        if channel not in self._watched:
            self._watched.add(channel)
            asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._fetch, channel)
        return True

    def _listen(self, channel: HandoverChannel) -> None:
        """Take back what replicas return, until the channel has ended."""
        if not channel.is_used:
            channel.is_used = True
            asyncio.get_running_loop().add_reader(channel.own.fileno(), self._take_back, channel)

    def _take_back(self, channel: HandoverChannel) -> None:
        with contextlib.suppress(BlockingIOError):
            if handed := receive(channel.own):
                self._adopt(handed, may_offer=True)
                return
            asyncio.get_running_loop().remove_reader(channel.own.fileno())
            self._fetch(channel)
            channel.close()

    def _fetch(self, channel: HandoverChannel) -> None:
        """Forward the requests of connections that no replica took."""
        self._watched.discard(channel)
        with contextlib.suppress(OSError):  # no message is left, or the service was deleted
            while handed := receive(channel.of_replicas):
                self._adopt(handed, may_offer=False)

    def _adopt(self, handed: Handed, *, may_offer: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._connected(handed, may_offer=may_offer))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connected(self, handed: Handed, *, may_offer: bool) -> None:
        connected, connect = socket.socket(fileno=handed.descriptor), self._connect
        connected.setblocking(False)
        assert connect is not None
        with contextlib.suppress(OSError):  # the caller hung up
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connect(handed.data, may_offer), connected)
