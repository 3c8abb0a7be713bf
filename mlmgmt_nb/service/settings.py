"""What can be set when a service is started."""

from __future__ import annotations

from pathlib import Path

import msgspec

__all__ = ["LOOPBACK", "Settings"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a service.

    Attributes:
        home: the state folder.
        host: the address to listen on; scoring services listen on it too.
        port: the port of the API; None for the last one, or any free one.
        account: name of the account that `baseUrl` of `mlmgmt status` shows; others can be used beside it.
        public_url: origin under which clients reach the service, when it is not the one that they name in `Host`.
        url_schemes: schemes of URLs from which models and assets are read when an image is built.
        service_ports: ports for scoring services, first and last.
        start_timeout: seconds that a driver's `init()` may take.
        drain_timeout: seconds that a replica may take to finish its requests when it is retired.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int | None = None
    account: str = "default"
    public_url: str | None = None
    url_schemes: frozenset[str] = frozenset({"http", "https", "s3", "abfs", "abfss", "gs", "file"})
    service_ports: tuple[int, int] = (20000, 29999)
    start_timeout: float = 300.0
    drain_timeout: float = 30.0

    @property
    def hosts(self) -> frozenset[str]:
        """The values of `Host`, without port, that requests may have."""
        return LOOPBACK | {self.host} if self.host in LOOPBACK else frozenset({self.host}) | LOOPBACK
