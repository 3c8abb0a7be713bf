"""The front door: the port of the API also serves every service, so that a firewall needs to open only one port.

A request for `/api/v1/service/NAME/...` is streamed to the service's own port, and the response back; neither is
buffered as a whole. The replica checks keys, as at its own port. Clients also wait as they would there: a request wakes
a sleeping service, and an update loses no request. If possible, it hands the connection over to a replica instead
(`handover`). Accounts may use the same name: the oldest service is reached by name, and any service by its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from mlmgmt_nb.scoring.handover.heads import plain_head
from mlmgmt_nb.service.gateway.exchange import CallerLeftError, Exchange
from mlmgmt_nb.service.gateway.handover import Handover, HandoverChannel, Offer
from mlmgmt_nb.service.gateway.pool import UpstreamPool
from mlmgmt_nb.service.gateway.upstream import ConnectionLostError, Upstream
from mlmgmt_nb.service.http.messages import Receive, Scope, Send
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.value_lists import one_of

__all__ = ["CANDIDATE", "PREFIX", "Gateway", "first_of_names"]

PREFIX = ("api", "v1", "service")
CANDIDATE = "candidate"
"""The segment of the path between the name of a service and the rest that leads to its candidate."""

_PATH = b" /%b/" % "/".join(PREFIX).encode()
_PATH_END = 5 + len(_PATH)
_ADDRESS_SECONDS = 1.0
"""Seconds to cache a port before the store is read again."""


def first_of_names(db: Connection, names: Iterable[str]) -> dict[str, str]:
    """Return the service (its id) that the front door uses for each name: the oldest, if accounts share a name."""
    services = schema.services
    oldest = (
        select(func.min(services.c.seq))
        .where(one_of(db, services.c.name, names), ~services.c.deleting)
        .group_by(services.c.name)
    )
    query = select(services.c.name, services.c.id).where(services.c.seq.in_(oldest))
    return {row.name: row.id for row in db.execute(query)}


class _ServiceAddress(NamedTuple):
    """The address of a service.

    Attributes:
        name: its name, as in the paths of its replicas.
        segments: the number of segments of the path before the rest.
        channel: the channel from which its replicas take connections, if they do.
    """

    name: str
    port: int
    channel: HandoverChannel | None
    segments: int = len(PREFIX) + 1


class Gateway:
    """Forwards requests.

    Args:
        host: the address that scoring services listen on.
        channel_of: returns the channel from which the replicas of a service (its id) take connections now, or None.

    Attributes:
        handover: the connections that are handed over.
    """

    def __init__(self, store: Store, host: str, channel_of: Callable[[str], HandoverChannel | None]) -> None:
        self._store = store
        self._channel_of = channel_of
        self.handover = Handover()
        self._addresses: dict[str, tuple[_ServiceAddress, float]] = {}
        self._pool = UpstreamPool(host)

    async def __call__(self, segments: Sequence[str], scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a service or its candidate.

        Args:
            segments: the segments of the path after the prefix: the name or id of the service first, then the rest.

        Raises:
            Problem: the request could not be forwarded, and no response has been started.
        """
        name = "/".join(segments[: 2 if len(segments) > 2 and segments[1] == CANDIDATE else 1])
        address = await self._address(name)
        upstream = await self._connected(name, address.port)
        exchange = Exchange(upstream, _target(scope, address), scope, receive, send)
        try:
            await exchange.run()
        except CallerLeftError:
            return  # nobody reads a response
        except ConnectionLostError:
            if not exchange.response_started:
                raise Problem(
                    502,
                    "ReplicaLost",
                    "The replica ended before it responded. Try again.",
                    headers={"retry-after": "1"},
                ) from None
            # The response has begun: the only remaining signal is to leave it incomplete.
        finally:
            self._pool.release(upstream, address.port, reusable=exchange.complete)

    def take(self, offer: Offer, data: bytes) -> bool:
        """Hand a connection over whose next request begins with this data; return False if it has to be forwarded."""
        if data.find(_PATH, 3, _PATH_END) < 0 or (head := plain_head(data)) is None:
            return False
        address, until = self._addresses.get(head.service.decode(), (None, 0.0))
        if address is None or address.channel is None or asyncio.get_running_loop().time() > until:
            return False
        return self.handover.send(address.channel, offer, data)

    async def _connected(self, name: str, port: int) -> Upstream:
        try:
            return await self._pool.take(port)
        except OSError:
            self._addresses.pop(name, None)
            raise _unreachable(name) from None

    async def _address(self, name: str) -> _ServiceAddress:
        """Return the address of a service.

        Raises:
            Problem: 404 when the service does not exist, 503 when it has no port yet.
        """
        loop = asyncio.get_running_loop()
        cached = self._addresses.pop(name, None)
        if cached and loop.time() < cached[1]:
            self._addresses[name] = cached
            return cached[0]
        found = await loop.run_in_executor(None, self._look_up, name)
        if found is None:
            raise _unreachable(name)
        self._addresses[name] = (found, loop.time() + _ADDRESS_SECONDS)
        return found

    def _look_up(self, name: str) -> _ServiceAddress | None:
        services = schema.services
        query = select(services.c.id, services.c.name, services.c.port).where(~services.c.deleting)
        plain, _, candidate = name.partition("/")
        with self._store.reading() as db:
            # Ids are longer than any name.
            service_id = first_of_names(db, [plain]).get(plain, plain)
            column = services.c.candidate_of if candidate else services.c.id
            row = db.execute(query.where(column == service_id)).one_or_none()
        if row is None and candidate:
            raise Problem(404, "NoCandidate", f"The service {plain!r} does not exist here, or it has no candidate.")
        if row is None:
            raise Problem(404, "ServiceNotFound", f"A service named {name!r} does not exist here.")
        if row.port is None:
            return None
        segments = len(PREFIX) + (2 if candidate else 1)
        channel = self._channel_of(row.id) if row.name == name else None  # a replica knows only this name
        return _ServiceAddress(row.name.partition("/")[0], row.port, channel, segments)


def _target(scope: Scope, address: _ServiceAddress) -> bytes:
    """Return path and query for the replica. The service name alone maps to its health check at `/`."""
    raw_path: bytes = scope["raw_path"].partition(b"?")[0]
    rest = raw_path.lstrip(b"/").split(b"/", address.segments)[address.segments :]
    path = b"/%b/%b/%b" % ("/".join(PREFIX).encode(), address.name.encode(), rest[0]) if rest and rest[0] else b"/"
    return path + b"?" + scope["query_string"] if scope["query_string"] else path


def _unreachable(name: str) -> Problem:
    return Problem(
        503, "NoReplicas", f"The service {name!r} is not listening yet. Try again.", headers={"retry-after": "1"}
    )
