"""Downloads over HTTP: only from allowed hosts, at every redirect, and not from this machine's own network.

A URL may come from another user, and its server may redirect anywhere. So each hop is checked like the first, and on
a shared service also the address of each connection: a name can resolve to any address.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import Any, BinaryIO

import aiohttp
import msgspec
from yarl import URL

from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError

__all__ = ["Sources", "download"]

_SCHEMES = frozenset({"http", "https"})
_MOST_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_CHUNK_BYTES = 2**20
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")))
"""Addresses of cloud metadata services that are not link-local; their responses contain secrets of a machine."""


class Sources(msgspec.Struct, frozen=True):
    """The allowed sources of contents.

    Attributes:
        schemes: allowed URL schemes.
        hosts: allowed hosts; None for any.
        is_shared: whether other users can register URLs. They cannot make this machine read from its own addresses
            (loopback and interfaces), those of its link, and those of cloud metadata, unless `hosts` names the host.
    """

    schemes: frozenset[str]
    hosts: frozenset[str] | None = None
    is_shared: bool = False

    def check(self, what: str, scheme: str, host: str | None) -> None:
        """Refuse a URL that may not be read.

        Raises:
            BuildError: the URL is not allowed; the message begins with `what`.
        """
        if scheme not in self.schemes:
            allowed = ", ".join(sorted(self.schemes))
            raise BuildError(
                "BadUrl",
                f"{what}: the URL scheme {scheme!r} is not allowed. Allowed: {allowed} (mlmgmt serve --url-scheme).",
            )
        if self.hosts is not None and host and host not in self.hosts:
            allowed = ", ".join(sorted(self.hosts)) or "none"
            raise BuildError(
                "BadUrl",
                f"{what}: the host {host!r} is not allowed. Allowed: {allowed} (mlmgmt serve --url-host).",
            )

    def allows_any_address_of(self, host: str | None) -> bool:
        """Return whether a host may have any address, because its name is allowed."""
        return not self.is_shared or (self.hosts is not None and host in self.hosts)


def download(url: str, sink: BinaryIO, what: str, sources: Sources, cancellation: Cancellation) -> None:
    """Download a URL to a file.

    Raises:
        BuildError: the URL, or one that it redirects to, is not allowed; or the build was cancelled.
        OSError, aiohttp.ClientError: the URL cannot be read.
    """
    web = msgspec.structs.replace(sources, schemes=sources.schemes & _SCHEMES)  # for redirects too
    asyncio.run(_download(URL(url), sink, what, web, cancellation))


async def _download(url: URL, sink: BinaryIO, what: str, sources: Sources, cancellation: Cancellation) -> None:
    for _ in range(_MOST_REDIRECTS + 1):
        sources.check(what, url.scheme, url.host)
        following = await _read(url, sink, what, sources, cancellation)
        if following is None:
            return
        try:
            url = url.join(URL(following))
        except ValueError:
            raise OSError("it redirects to an invalid URL") from None
    raise OSError(f"more than {_MOST_REDIRECTS} redirects")


async def _read(url: URL, sink: BinaryIO, what: str, sources: Sources, cancellation: Cancellation) -> str | None:
    """Download one URL to a file, or return the URL that it redirects to."""
    guard = _Addresses()
    connector = aiohttp.TCPConnector(socket_factory=None if sources.allows_any_address_of(url.host) else guard.socket)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
            session.get(url, allow_redirects=False, headers={"accept-encoding": "identity"}) as response,
        ):
            if response.status in _REDIRECTS and "location" in response.headers:
                return response.headers["location"]
            if response.status >= 400:
                raise OSError(f"the server answered {response.status} {response.reason}")
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                cancellation.check()
                sink.write(chunk)
    except aiohttp.ClientConnectionError:
        if guard.refused:
            raise BuildError(
                "BadUrl",
                f"{what}: the host {url.host!r} has the address {guard.refused}, on the service's own machine, its "
                "link or a metadata service of its cloud, which is not allowed here. Allow the host with mlmgmt serve "
                "--url-host.",
            ) from None
        raise
    return None


class _Addresses:
    """Create sockets only for addresses beyond this machine, its link and the metadata services of clouds.

    Attributes:
        refused: the address that was last refused, or "".
    """

    refused = ""

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Return the socket for an address of `getaddrinfo`."""
        family, kind, protocol, _, address = info
        if _is_internal(address[0]):
            self.refused = str(address[0])
            raise PermissionError(errno.EACCES, "address not allowed")
        return socket.socket(family, kind, protocol)


def _is_internal(text: str) -> bool:
    address = _inner(ipaddress.ip_address(text.partition("%")[0]))
    is_special = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    return is_special or address in _METADATA or _is_own(address)


def _inner(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address embeds (mapped, compatible, 6to4 or NAT64), or else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_own(address: _Address) -> bool:
    """Return whether an address belongs to an interface of this machine: packets to it would also come from it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))  # sends nothing
        except OSError:
            return False  # it cannot be reached
        return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address
