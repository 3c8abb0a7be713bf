"""Settings of a service process."""

from __future__ import annotations

import socket
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mlmgmt_nb.archives.extraction import Limits
from mlmgmt_nb.scoring.http.access.hosts import LOOPBACK, HostCheck
from mlmgmt_nb.service.access.issuer_settings import IssuerSettings
from mlmgmt_nb.service.access.principals import Grant

__all__ = ["IMAGE_BUILDERS", "Settings", "TlsSettings"]

IMAGE_BUILDERS = ("auto", "engine", "daemonless")
"""Ways to build Docker images: on an engine, without one, or (`auto`) on an engine if one responds."""

REMOTE_SCHEMES = frozenset({"http", "https", "s3", "abfs", "abfss", "gs"})


class TlsSettings(msgspec.Struct, frozen=True):
    """Files of the certificate (followed by its chain) and of its key, both PEM, the key without a password."""

    certificate: Path
    key: Path


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a service.

    Attributes:
        home: the state folder.
        host: address of the API and of scoring services.
        port: port of the API; None for the last port used, or any free port.
        account: account in the `baseUrl` of `mlmgmt status`; other accounts can be used too.
        public_url: public origin of the service, if it differs from the one that clients send in `Host`. Scoring URLs
            use it. The service accepts its host name; beyond loopback also IP addresses and the machine's own name.
        allowed_hosts: additional hosts allowed in `Host` and `Origin`, on the port of the API and the ports of scoring
            services: names, addresses, networks, or `*` for any.
        database: URL of the PostgreSQL database that several processes share; None for SQLite in the state folder.
        is_new: whether to start with an empty database in a folder that lost its database.
        url_schemes: URL schemes that image builds may read models and assets from; None for the default schemes,
            which include `file` only for a service that listens on loopback.
        url_hosts: hosts (in lower case) that such URLs, and their redirects, may name; None for any, but on a shared
            service none at loopback and link-local addresses.
        recording_storage: the place for recorded requests, an fsspec URL or the connection string of an Azure storage
            account; None for the state folder.
        data_storage: destination of collected data: a folder, an fsspec URL, or the connection string of an Azure
            storage account, which is a secret; None for the state folder.
        service_ports: first and last port for scoring services.
        issuer: identity provider whose tokens are accepted besides the token of the state folder, or None.
        grants: roles for such tokens; see `mlmgmt_nb.service.access.principals`.
        tls: certificate of the API's port, which then also serves all services; these listen on loopback only.
        base_image: base image of Docker images with the runtime `python`; None for a slim image with this Python.
        base_image_spark: base image for the runtime `spark-py`; Java is added if missing.
        clusters: file with the settings of clusters, which may not exist; None for `clusters.toml` in the state folder.
        image_builder: way to build Docker images, one of `IMAGE_BUILDERS`.
        registry: host, optionally with a path, that Docker images are pushed to and pulled from, or None.
        pip_config: `pip.conf` for the installation of packages in Docker images.
        unpack_limits: limits for archives that image builds unpack.
        operation_days: days to keep operations after they end.
        candidate_hours: hours after which a candidate of a service is removed unless it was promoted.
        start_timeout: time limit in seconds for a driver's `init()`.
        drain_timeout: time limit in seconds for a retired replica to finish its requests.
        calm_seconds: seconds of low load before an autoscaler removes a replica.
        warm_start_seconds: seconds that a process with the scoring runtime waits to become the next replica on this
            machine; 0 for none.
        hands_over: whether the front door hands connections over to replicas on this machine.
        hang_timeout: seconds without any response before a replica is replaced; slow drivers are not affected.
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
    recording_storage: str | None = None
    service_ports: tuple[int, int] = (20000, 29999)
    issuer: IssuerSettings | None = None
    grants: tuple[Grant, ...] = ()
    tls: TlsSettings | None = None
    base_image: str | None = None
    base_image_spark: str | None = None
    registry: str | None = None
    clusters: Path | None = None
    image_builder: str = "auto"
    pip_config: Path | None = None
    unpack_limits: Limits = Limits()
    operation_days: float = 30.0
    candidate_hours: float = 24.0
    start_timeout: float = 300.0
    drain_timeout: float = 30.0
    hang_timeout: float = 60.0
    calm_seconds: float = 30.0
    warm_start_seconds: float = 600.0
    hands_over: bool = True

    @property
    def clusters_file(self) -> Path:
        """Return the file with the settings of clusters."""
        return self.clusters or self.home / "clusters.toml"

    @property
    def scheme(self) -> str:
        """Return the URL scheme of the API."""
        return "http" if self.tls is None else "https"

    @property
    def service_host(self) -> str:
        """Return the address that scoring services listen on."""
        return self.host if self.tls is None else "127.0.0.1"

    @property
    def readable_schemes(self) -> frozenset[str]:
        """Return `url_schemes` or the default: a service that others can reach must not read local files."""
        if self.url_schemes is not None:
            return self.url_schemes
        return REMOTE_SCHEMES | {"file"} if self.host in LOOPBACK else REMOTE_SCHEMES

    @property
    def is_shared(self) -> bool:
        """Return whether people other than the owner of the state folder may use the service."""
        return self.host not in LOOPBACK or self.issuer is not None

    def answers_to(self, host: str) -> bool:
        """Return whether requests may name this host (in lower case, without port) in `Host` and `Origin`.

        A page in the user's browser can make its own name resolve to this machine, but not forge an address:
        addresses are safe.
        """
        return _check(self.answered_hosts).answers_to(host)

    @property
    def answered_hosts(self) -> tuple[str, ...]:
        """Return the hosts that `answers_to` accepts; scoring services accept the same."""
        public = urlsplit(self.public_url or "").hostname
        hosts = (*LOOPBACK, self.host, *([public] if public else []), *self.allowed_hosts)
        return hosts if self.host in LOOPBACK else (*hosts, *_machine_names(), "0.0.0.0/0", "::/0")


@lru_cache(maxsize=8)
def _check(hosts: tuple[str, ...]) -> HostCheck:
    return HostCheck(hosts)


@lru_cache(maxsize=1)
def _machine_names() -> tuple[str, str]:
    return socket.gethostname(), socket.getfqdn()
