"""Health checks of the Model Management service, for probes and load balancers.

Neither needs a sign-in or a known `Host`, because a kubelet asks by the address of a pod; they show nothing else. Only
readiness depends on the database: a service that cannot reach it does not have to be restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from mlmgmt_nb.service.http.health_paths import LIVE, READY
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import Problem

__all__ = ["HealthChecks"]

_NO_CACHE: Mapping[str, str] = MappingProxyType({"cache-control": "no-store"})
_PATHS = frozenset({LIVE, READY})
_VALID_SECONDS = 1.0
"""Seconds for which an answer of the database is valid, so that frequent checks cost little."""
_TIMEOUT_SECONDS = 3.0


class HealthChecks:
    """Answers health checks.

    Args:
        responds: returns whether the database answers; may block.
    """

    def __init__(self, responds: Callable[[], bool]) -> None:
        self._responds = responds
        # A thread of its own: the others may all wait for the database.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._query: asyncio.Future[bool] | None = None
        self._queried_at = 0.0

    @staticmethod
    def knows(path: str) -> bool:
        """Return whether a path is that of a health check."""
        return path in _PATHS

    async def answer(self, method: str, path: str) -> Reply:
        """Answer a health check.

        Raises:
            Problem: 405 for another method, 503 if the database does not answer.
        """
        if method not in {"GET", "HEAD"}:
            raise Problem(
                405, "MethodNotAllowed", "This path supports only GET and HEAD.", headers={"allow": "GET, HEAD"}
            )
        if path == READY and not await self._is_ready():
            raise Problem(
                503, "NotReady", "The database of the service does not respond. Try again.", headers=_NO_CACHE
            )
        return Reply(200, {"status": "healthy"}, _NO_CACHE)

    async def _is_ready(self) -> bool:
        """Return whether the database answered just now. Concurrent checks share one query."""
        loop = asyncio.get_running_loop()
        query = self._query
        if query is None or (query.done() and loop.time() - self._queried_at > _VALID_SECONDS):
            query = self._query = loop.run_in_executor(self._thread, self._responds)
            self._queried_at = loop.time()
        await asyncio.wait({query}, timeout=_TIMEOUT_SECONDS)
        return query.done() and query.result()
