"""CORS: pages of other origins that may call a service, from `AML_CORS_ORIGINS` (comma-separated, or `*` for all).

Without it, pages of other origins cannot read an answer. Requests still need a key, except preflight requests
(`OPTIONS` with `Access-Control-Request-Method`).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Origins", "allowed_origins"]

_VARIABLE = "AML_CORS_ORIGINS"
_DAY = "86400"


class Origins:
    """The allowed origins.

    Args:
        allowed: origins such as `https://app.example.org`; `*` stands for all.
    """

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def allows(self, origin: str) -> bool:
        """Return whether pages of an origin may call the service."""
        return "*" in self._allowed or origin.lower() in self._allowed

    def headers(self, origin: str) -> list[tuple[str, str]]:
        """Return the headers that let a page of this origin read the answer."""
        if not self._allowed:
            return []
        if not origin or not self.allows(origin):
            return [("vary", "Origin")]
        return [("access-control-allow-origin", origin), ("vary", "Origin")]

    def preflight(self, origin: str, methods: str, asked: str) -> list[tuple[str, str]]:
        """Return the additional headers of the answer to a preflight request.

        Args:
            origin: the origin of the page.
            methods: the methods of the service.
            asked: the headers that the page is going to send.
        """
        if not self.allows(origin):
            return []
        more = [("access-control-allow-methods", methods), ("access-control-max-age", _DAY)]
        if asked:
            more.append(("access-control-allow-headers", asked))
        return more


def allowed_origins(environment: Mapping[str, str]) -> Origins:
    """Return the origins that the environment allows."""
    given = (origin.strip().rstrip("/").lower() for origin in environment.get(_VARIABLE, "").split(","))
    return Origins(frozenset(filter(None, given)))
