"""The address of a running embedded service, and requests to it with the standard library alone."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

__all__ = ["Endpoint", "get", "pinned"]

_PING_SECONDS = 5.0


@dataclass(frozen=True)
class Endpoint:
    """A running embedded service.

    Attributes:
        base_url: the account's URL.
        token_file: the file that has its bearer token.
        pid: its process.
        home: its state folder.
        version: of mlmgmt-nb that it runs.
        lock: the file that it holds a lock on.
        certificate: file of the certificate that it answers with, if it speaks TLS. Programs of this machine believe
            it whoever signed it and whatever name it is for: the folder that names it is private.
    """

    base_url: str
    token_file: Path
    pid: int
    home: Path
    version: str
    lock: Path
    certificate: Path | None = None


def get(endpoint: Endpoint, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Return status and body of the response to a GET request.

    Raises:
        OSError, HTTPException: it does not answer.
    """
    import http.client  # not needed to start a service

    parts = urlsplit(endpoint.base_url)
    token = endpoint.token_file.read_text(encoding="ascii").strip()
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPConnection(host, port, timeout=_PING_SECONDS)
        if endpoint.certificate is None
        else http.client.HTTPSConnection(host, port, timeout=_PING_SECONDS, context=pinned(endpoint.certificate))
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()


def pinned(certificate: Path) -> ssl.SSLContext:
    """Return a TLS context that trusts a single certificate, for any name."""
    import ssl  # few services have one

    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
