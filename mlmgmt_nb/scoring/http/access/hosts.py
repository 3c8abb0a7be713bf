"""Check which hosts and origins may use a port: a page of another origin in a user's browser must not reach it.

A page can point its own host name to this port (DNS rebinding), which `Host` reveals; `Origin` names the calling page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from mlmgmt_nb.scoring.errors import RequestError

__all__ = ["ANY", "LOOPBACK", "HostCheck", "cross_origins"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = "*"
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?", re.ASCII)
_MOST_SEEN = 256


class HostCheck:
    """Checks `Host` and `Origin` of requests.

    Args:
        hosts: names, addresses and networks (`10.0.0.0/8`); `*` is any host, but then only pages of that same host.
        origins: further pages that may call, by origin (`https://app.example.org`); `*` is any page.
    """

    def __init__(self, hosts: Iterable[str] = LOOPBACK, origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._networks = [network for host in self._hosts if (network := _network(host))]
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._seen: set[bytes] = set()

    def admits(self, host: bytes, origin: bytes) -> bool:
        """Return whether a request with these headers may be answered; a missing header is empty."""
        if not origin and host in self._seen:
            return True
        try:
            self.check(host, origin)
        except RequestError:
            return False
        if len(self._seen) < _MOST_SEEN:
            self._seen.add(host)
        return True

    def check(self, host: bytes, origin: bytes) -> None:
        """Refuse a foreign host or origin.

        Raises:
            RequestError: 400 when `host` is not a host and a port, 403 when it or `origin` is foreign.
        """
        name = _name(host)
        if host and not name:
            raise RequestError(400, "BadInput", f"Host: {_shown(host)} is not a single host with an optional port")
        if host and not self.answers_to(name):
            raise _foreign("Host", host, "--allowed-host")
        if origin and not (self.allows_origin(origin) or self._is_own_origin(origin, name)):
            raise _foreign("Origin", origin, "--allowed-host or AML_CORS_ORIGINS")

    def answers_to(self, name: str) -> bool:
        """Return whether a request may name this host, given in lower case and without port."""
        if name in self._hosts or (ANY in self._hosts and name):
            return True
        return bool(self._networks) and _is_within(name, self._networks)

    def allows_origin(self, origin: bytes) -> bool:
        """Return whether the origin is one of the further ones that may call."""
        return ANY in self._origins or origin.decode("latin-1").lower() in self._origins

    def _is_own_origin(self, origin: bytes, host: str) -> bool:
        name = _name(origin.partition(b"://")[2])
        return bool(name) and (name == host if ANY in self._hosts else self.answers_to(name))


def cross_origins(environment: Mapping[str, str]) -> list[str]:
    """Return the origins that `AML_CORS_ORIGINS` names, separated by commas."""
    return [origin.strip() for origin in environment.get("AML_CORS_ORIGINS", "").split(",") if origin.strip()]


def _name(authority: bytes) -> str:
    """Return the host without port: `[::1]:80` -> `::1`, `localhost:80` -> `localhost`; empty if it is malformed."""
    found = _AUTHORITY.fullmatch(authority.decode("latin-1").lower())
    return (found[1] or found[2]) if found else ""


def _network(host: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(host) if "/" in host else None
    except ValueError:
        raise ValueError(f"{host!r} is not a network. Use the form 10.0.0.0/8") from None


def _is_within(name: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _shown(value: bytes) -> str:
    return repr(value[:200].decode("latin-1"))


def _foreign(header: str, value: bytes, setting: str) -> RequestError:
    return RequestError(
        403,
        "ForeignHost",
        f"requests with the {header} {_shown(value)} are refused. The administrator of the service can allow it "
        f"with {setting}",
    )
