"""The end of candidates that nobody promoted or discarded in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Row

from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.transitions import delete_service

__all__ = ["CandidateController"]


class CandidateController:
    """Removes candidates whose time is over; the controllers of their computes end their replicas.

    Args:
        on_change: called after each change of the store.
    """

    def __init__(self, store: Store, recorder: ServiceRecorder, on_change: Callable[[], None]) -> None:
        self._store = store
        self._recorder = recorder
        self._on_change = on_change

    def run(self, services: Mapping[str, Row[Any]]) -> float:
        """Run a round; return the seconds until the next one if nothing changes.

        Args:
            services: all services by id.
        """
        moment = now()
        for row in services.values():
            if row.expires_at is not None and row.expires_at <= moment and not row.deleting:
                self._remove(row)
        return 1.0

    def _remove(self, row: Row[Any]) -> None:
        with self._store.writing() as db:
            delete_service(db, row.id)
        if row.candidate_of is not None:
            self._recorder.log(row.candidate_of).line("[mlmgmt] the candidate was removed: its time is over")
        self._on_change()

    def push_keys(self, row: Row[Any]) -> None:
        """Send nothing: the replicas of a candidate belong to other controllers."""

    def stop(self) -> None:
        """Stop nothing, for the same reason."""
