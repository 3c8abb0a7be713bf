"""URLs: their origin, and whether they are on this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from mlmgmt_nb.errors import UsageError

__all__ = ["content_of", "is_loopback", "origin"]

_STORE = "/artifacts/sha256/"


def content_of(url: str) -> str:
    """Return the part of a URL that names its content in an artifact store, whose server may have moved. Other URLs are
    returned unchanged.
    """
    return url.rpartition(_STORE)[2]


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL.

    Raises:
        UsageError: it is not an http or https URL, or it carries a user name.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise UsageError(f"{url!r} is not a URL: {error}", field="url") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise UsageError(f"{url!r} is not an http or https URL", field="url")
    return parts.scheme, parts.hostname, port


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
