"""How the requests of services on clusters are split: a router replaces the direct path to the pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row

from mlmgmt_nb.service.compute.declared.protocol import DeclaredCompute
from mlmgmt_nb.service.gateway.router import Router
from mlmgmt_nb.service.gateway.split import Split
from mlmgmt_nb.service.reconciling.candidates import split_of
from mlmgmt_nb.service.reconciling.declared.actions import Release, Route

__all__ = ["TrafficSplitter"]


class TrafficSplitter:
    """Splits the requests of services between their pods and those of their candidates."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._candidates: dict[str, Row[Any]] = {}  # by the id of their service

    def see(self, rows: Iterable[Row[Any]]) -> None:
        """Update the candidates from all services."""
        self._candidates = {
            row.candidate_of: row for row in rows if row.candidate_of is not None and not row.deleting and row.port
        }

    def is_wanted(self, row: Row[Any]) -> bool:
        """Return whether the candidate of a service should get some of its requests, or copies."""
        candidate = self._candidates.get(row.id)
        if candidate is None or row.deleting or row.target_id is not None:
            return False
        return candidate.traffic is not None and candidate.traffic.is_active

    def is_made(self, row: Row[Any]) -> bool:
        """Return whether the requests of a service are split now."""
        return self._router.is_routed(row.id)

    def renew(self, row: Row[Any], compute: DeclaredCompute) -> None:
        """Apply the current share, if requests are split."""
        if self.is_made(row):
            self._router.split(row.id, self._split(row, compute) if self.is_wanted(row) else None)

    def act(self, action: Route | Release, row: Row[Any], compute: DeclaredCompute) -> None:
        """Start or stop splitting requests. The router or the compute accepts connections at any time."""
        match action:
            case Route():
                if self.is_wanted(row):
                    self._router.route(row.id, compute.socket_of(row.id), self._split(row, compute))
                    compute.divert(row.id, self._router.taker(row.id))
            case Release():
                if compute.is_open(row.id):
                    compute.accept(row.id)
                self._router.release(row.id)

    def stop(self) -> None:
        self._router.stop()

    def _split(self, row: Row[Any], compute: DeclaredCompute) -> Split:
        candidate = self._candidates[row.id]
        port = compute.private_port(candidate.id) if compute.is_open(candidate.id) else candidate.port
        return split_of(row, candidate, compute.private_port(row.id), port)
