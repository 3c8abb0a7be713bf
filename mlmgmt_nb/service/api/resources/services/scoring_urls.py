"""Scoring URLs of services and candidates."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from urllib.parse import urlsplit

from sqlalchemy import Connection

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.gateway.gateway import first_of_names

__all__ = ["ScoringUrls"]


class ScoringUrls:
    """The scoring URLs in one response; what all of them share is determined once.

    Args:
        names: the names of the services and candidates in the response.
    """

    def __init__(self, db: Connection, call: Call, names: Iterable[str]) -> None:
        settings = call.backend.settings
        # With a TLS certificate, services listen on loopback, and clients use the port that serves TLS.
        self._front = settings.public_url or (call.base_url.partition("/api/")[0] if settings.tls else None)
        # At the front door, the first service of a name is addressed by name and others by id.
        self._first = first_of_names(db, {name.partition("/")[0] for name in names}) if self._front else {}
        host = urlsplit(call.base_url).hostname or ""
        self._host = f"[{host}]" if ":" in host else host
        self._computes = call.backend.computes
        # Each call checks the settings of the clusters for changes.
        self._is_exposed = cache(self._computes.is_exposed)

    def of(self, service_id: str, name: str, compute_id: str, port: int | None, deployment_status: str) -> str | None:
        """Return a scoring URL: at the cluster itself, if it exposes services; at the front door, if its origin is
        given; or at the service's own port on the host of the request. A service whose creation failed does not have a
        scoring URL.

        Args:
            service_id: id of the service; for a candidate, that of its service.
            name: name of the service, or of the candidate, which begins with that of its service.
        """
        if port is None or deployment_status in {"Failed", "Cancelled"}:
            return None
        name, separator, rest = name.partition("/")
        if not separator and self._is_exposed(compute_id):
            return self._computes.exposed_url(compute_id, service_id)
        if self._front is not None:
            place = name if self._first.get(name) == service_id else service_id
            return f"{self._front}/api/v1/service/{place}{separator}{rest}/score"
        return f"http://{self._host}:{port}/api/v1/service/{name}/score"
