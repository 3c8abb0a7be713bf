"""What can be set when a service is started."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

__all__ = ["LOOPBACK", "Settings"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
REMOTE_SCHEMES = frozenset({"http", "https", "s3", "abfs", "abfss", "gs"})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a service.

    Attributes:
        home: the state folder.
        host: the address to listen on; scoring services listen on it too.
        port: the port of the API; None for the last one, or any free one.
        account: name of the account that `baseUrl` of `mlmgmt status` shows; others can be used beside it.
        public_url: origin under which clients reach the service, when it is not the one that they name in `Host`.
            Scoring URLs then lead there too. A service answers to the name in it; one beyond loopback also to IP
            addresses and to the machine's own name.
        database: URL of the PostgreSQL database that several processes share; None for SQLite in the state folder.
        url_schemes: schemes of URLs from which models and assets are read when an image is built; None for the usual
            ones, of which `file` is one only for a service that listens on loopback.
        url_hosts: hosts that such URLs may name; None for any.
        data_storage: where drivers' collected data goes: a folder, an fsspec URL, or the connection string of an Azure
            storage account, which is a secret; None for the state folder.
        service_ports: ports for scoring services, first and last.
        start_timeout: seconds that a driver's `init()` may take.
        drain_timeout: seconds that a replica may take to finish its requests when it is retired.
        hang_timeout: seconds without a sign of life before a replica is replaced; a driver may be slow meanwhile.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int | None = None
    account: str = "default"
    public_url: str | None = None
    database: str | None = None
    url_schemes: frozenset[str] | None = None
    url_hosts: frozenset[str] | None = None
    data_storage: str | None = None
    service_ports: tuple[int, int] = (20000, 29999)
    start_timeout: float = 300.0
    drain_timeout: float = 30.0
    hang_timeout: float = 60.0

    @property
    def readable_schemes(self) -> frozenset[str]:
        """`url_schemes`, or the usual ones: a service that others reach must not read the files of its machine."""
        if self.url_schemes is not None:
            return self.url_schemes
        return REMOTE_SCHEMES | {"file"} if self.host in LOOPBACK else REMOTE_SCHEMES

    def answers_to(self, host: str) -> bool:
        """Whether requests may name this host (in lower case, without port) in `Host` and `Origin`.

        A page in the user's browser can make a name of its own point here, but not an address: addresses are safe.
        """
        if host in LOOPBACK or host in {self.host, urlsplit(self.public_url or "").hostname}:
            return True
        if self.host in LOOPBACK:
            return False
        return host in {socket.gethostname().lower(), socket.getfqdn().lower()} or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
