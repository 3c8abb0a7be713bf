"""Pages of other origins that may call a service: `AML_CORS_ORIGINS`, a list with commas, or `*` for all.

Without it no page of another origin can read an answer. Keys are needed as ever; only the question of a browser whether
it may ask (`OPTIONS` with `Access-Control-Request-Method`) is answered without one.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Origins", "allowed_origins"]

_VARIABLE = "AML_CORS_ORIGINS"
_DAY = "86400"


class Origins:
    """The origins that are allowed.

    Args:
        allowed: such as `https://app.example.org`; `*` stands for all.
    """

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def allows(self, origin: str) -> bool:
        """Return whether pages of an origin may call the service."""
        return "*" in self._allowed or origin.lower() in self._allowed

    def headers(self, origin: str) -> list[tuple[str, str]]:
        """Return the headers by which a browser lets a page of this origin read the answer."""
        if not self._allowed:
            return []
        if not origin or not self.allows(origin):
            return [("vary", "Origin")]
        return [("access-control-allow-origin", origin), ("vary", "Origin")]

    def preflight(self, origin: str, methods: str, asked: str) -> list[tuple[str, str]]:
        """Return the headers, beside those of each answer, that answer the question of a browser.

        Args:
            origin: of the page.
            methods: those that the service has.
            asked: the headers that the page wants to send.
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
