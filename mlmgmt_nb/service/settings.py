"""What can be set when a service is started."""

from __future__ import annotations

import socket
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mlmgmt_nb.archives.extraction import Limits
from mlmgmt_nb.scoring.http.hosts import LOOPBACK, HostCheck
from mlmgmt_nb.service.access.issuer_settings import IssuerSettings
from mlmgmt_nb.service.access.principals import Grant

__all__ = ["Settings", "TlsSettings"]

REMOTE_SCHEMES = frozenset({"http", "https", "s3", "abfs", "abfss", "gs"})


class TlsSettings(msgspec.Struct, frozen=True):
    """Files of the certificate (with the chain behind it) and of its key, both PEM, the key without a password."""

    certificate: Path
    key: Path


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
        allowed_hosts: further hosts that requests may name in `Host` and `Origin`, at the port of the API and at those
            of scoring services: names, addresses, networks, or `*` for any.
        database: URL of the PostgreSQL database that several processes share; None for SQLite in the state folder.
        is_new: whether to begin a new account in a folder that has files of one whose database is lost.
        url_schemes: schemes of URLs from which models and assets are read when an image is built; None for the usual
            ones, of which `file` is one only for a service that listens on loopback.
        url_hosts: hosts (in lower case) that such URLs, and their redirects, may name; None for any, but on a shared
            service none at loopback and link-local addresses.
        data_storage: where drivers' collected data goes: a folder, an fsspec URL, or the connection string of an Azure
            storage account, which is a secret; None for the state folder.
        service_ports: ports for scoring services, first and last.
        issuer: identity provider whose tokens are accepted besides that of the state folder, or None.
        grants: what such tokens allow; see `mlmgmt_nb.service.access.principals`.
        tls: certificate of the API's port, which then also answers for all services: theirs listen on loopback only.
        base_image: base image of Docker images with the runtime `python`; None for a slim one with this Python.
        base_image_spark: the same for the runtime `spark-py`, to which Java is added if it has none.
        registry: where Docker images are pushed to and pulled from: a host, with a path if need be. None for nowhere.
        pip_config: a `pip.conf` for the installation of packages in Docker images.
        unpack_limits: bounds of archives that are unpacked while an image is built.
        operation_days: how long operations are kept after their end.
        start_timeout: seconds that a driver's `init()` may take.
        drain_timeout: seconds that a replica may take to finish its requests when it is retired.
        calm_seconds: for how long fewer replicas must have been enough before an autoscaler takes one away.
        hang_timeout: seconds without a sign of life before a replica is replaced; a driver may be slow meanwhile.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int | None = None
    account: str = "default"
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    database: str | None = None
    is_new: bool = False
    url_schemes: frozenset[str] | None = None
    url_hosts: frozenset[str] | None = None
    data_storage: str | None = None
    service_ports: tuple[int, int] = (20000, 29999)
    issuer: IssuerSettings | None = None
    grants: tuple[Grant, ...] = ()
    tls: TlsSettings | None = None
    base_image: str | None = None
    base_image_spark: str | None = None
    registry: str | None = None
    pip_config: Path | None = None
    unpack_limits: Limits = Limits()
    operation_days: float = 30.0
    start_timeout: float = 300.0
    drain_timeout: float = 30.0
    hang_timeout: float = 60.0
    calm_seconds: float = 30.0

    @property
    def scheme(self) -> str:
        """Of the API's URLs."""
        return "http" if self.tls is None else "https"

    @property
    def service_host(self) -> str:
        """The address that scoring services listen on."""
        return self.host if self.tls is None else "127.0.0.1"

    @property
    def readable_schemes(self) -> frozenset[str]:
        """`url_schemes`, or the usual ones: a service that others reach must not read the files of its machine."""
        if self.url_schemes is not None:
            return self.url_schemes
        return REMOTE_SCHEMES | {"file"} if self.host in LOOPBACK else REMOTE_SCHEMES

    @property
    def is_shared(self) -> bool:
        """Whether others than the owner of the state folder may use the service."""
        return self.host not in LOOPBACK or self.issuer is not None

    def answers_to(self, host: str) -> bool:
        """Whether requests may name this host (in lower case, without port) in `Host` and `Origin`.

        A page in the user's browser can make a name of its own point here, but not an address: addresses are safe.
        """
        return _check(self.answered_hosts).answers_to(host)

    @property
    def answered_hosts(self) -> tuple[str, ...]:
        """The hosts that `answers_to` goes by, for scoring services too."""
        public = urlsplit(self.public_url or "").hostname
        hosts = (*LOOPBACK, self.host, *([public] if public else []), *self.allowed_hosts)
        return hosts if self.host in LOOPBACK else (*hosts, *_machine_names(), "0.0.0.0/0", "::/0")


@lru_cache(maxsize=8)
def _check(hosts: tuple[str, ...]) -> HostCheck:
    return HostCheck(hosts)


@lru_cache(maxsize=1)
def _machine_names() -> tuple[str, str]:
    return socket.gethostname(), socket.getfqdn()
