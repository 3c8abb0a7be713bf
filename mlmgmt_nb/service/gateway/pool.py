"""Connections to the ports of services, reused for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mlmgmt_nb.service.gateway.upstream import Upstream

__all__ = ["UpstreamPool"]

_CONNECTION_SECONDS = 1.0
"""Seconds to reuse an idle connection to a replica. Shorter than a retired replica keeps its open connections (2 s), so
that no request is sent on a connection that is about to close; and new replicas soon get their share.
"""
_CONNECT_SECONDS = 30.0


class UpstreamPool:
    """Idle connections by port. All methods belong to one event loop.

    Args:
        host: the address that the services listen on.
    """

    def __init__(self, host: str) -> None:
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to connect, not to bind
        self._idle: dict[int, list[Upstream]] = {}

    async def take(self, port: int) -> Upstream:
        """Return a connection to a port, for one exchange.

        Raises:
            OSError: the port does not accept it.
        """
        loop = asyncio.get_running_loop()
        for upstream in _popped(self._idle.get(port, [])):
            if not upstream.ended and loop.time() - upstream.opened < _CONNECTION_SECONDS:
                return upstream
            upstream.close()
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, upstream = await loop.create_connection(
                lambda: Upstream(lambda ended: self._forget(ended, port)), self._host, port
            )
        loop.call_later(_CONNECTION_SECONDS, self._expire, upstream, port)
        return upstream

    def release(self, upstream: Upstream, port: int, *, reusable: bool) -> None:
        """Take a connection back after its exchange."""
        is_young = asyncio.get_running_loop().time() - upstream.opened < _CONNECTION_SECONDS
        if reusable and is_young and upstream.reusable:
            self._idle.setdefault(port, []).append(upstream)
        else:
            upstream.close()

    def _expire(self, upstream: Upstream, port: int) -> None:
        if upstream in self._idle.get(port, []):
            upstream.close()

    def _forget(self, upstream: Upstream, port: int) -> None:
        idle = self._idle.get(port, [])
        if upstream in idle:
            idle.remove(upstream)
        if not idle:
            self._idle.pop(port, None)


def _popped(idle: list[Upstream]) -> Iterator[Upstream]:
    while idle:
        yield idle.pop()
