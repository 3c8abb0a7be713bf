"""Candidates in the course of time: their canaries, and the end of those that nobody promoted or discarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Row

from mlmgmt_nb.contract.canary import Canary
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.gateway.router import Router, Side
from mlmgmt_nb.service.reconciling.canary import added, advance
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.transitions import canary_changed, delete_service

__all__ = ["CandidateController"]


class CandidateController:
    """Moves canaries on or takes them back, and removes candidates whose time is over.

    The controllers of their computes run and end the replicas.

    Args:
        on_change: called after each change of the store.
    """

    def __init__(self, store: Store, router: Router, recorder: ServiceRecorder, on_change: Callable[[], None]) -> None:
        self._store = store
        self._router = router
        self._recorder = recorder
        self._on_change = on_change

    def run(self, services: Mapping[str, Row[Any]]) -> float:
        """Run a round; return the seconds until the next one if nothing changes.

        Args:
            services: all services by id.
        """
        moment = now()
        for row in services.values():
            if row.candidate_of is None or row.deleting:
                continue
            if row.expires_at is not None and row.expires_at <= moment:
                self._remove(row)
            elif row.traffic is not None and row.traffic.is_active:
                self._look(row, row.traffic)
        return 1.0

    def _look(self, row: Row[Any], canary: Canary) -> None:
        """Count the answers of a canary since the last look, and decide."""
        counted = self._counted(row.candidate_of, canary)
        if row.error is not None:
            after = msgspec.structs.replace(counted, state="TakenBack", reason=row.error.message)
        else:
            after = advance(counted, now())
        if after == canary:
            return
        with self._store.writing() as db:
            is_changed = canary_changed(db, row.id, canary, after)
        service_log = self._recorder.log(row.candidate_of)
        if is_changed and after.state == "TakenBack":
            service_log.line(f"[mlmgmt] the canary was taken back: {after.reason}")
        elif is_changed and after.step != canary.step:
            service_log.line(f"[mlmgmt] canary: {after.share:g} % of the requests ({after.reason})")
        self._on_change()

    def _counted(self, service_id: str, canary: Canary) -> Canary:
        counts = self._router.take_counts(service_id)
        if counts is None or not any(side.requests for side in counts):
            return canary
        old, new = counts
        return msgspec.structs.replace(
            canary,
            old=_added(canary.old, old),
            new=_added(canary.new, new),
            step_requests=canary.step_requests + new.requests,
        )

    def _remove(self, row: Row[Any]) -> None:
        with self._store.writing() as db:
            delete_service(db, row.id)
        self._recorder.log(row.candidate_of).line("[mlmgmt] the candidate was removed: its time is over")
        self._on_change()

    def push_keys(self, row: Row[Any]) -> None:
        """Send nothing: the replicas of a candidate belong to other controllers."""

    def stop(self) -> None:
        """Stop nothing, for the same reason."""


def _added(answers: Any, side: Side) -> Any:
    return added(answers, side.requests, side.errors, side.latencies.counts())
