"""The results of reconciling, written to the store and to the logs of the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, update

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.files.mirrors import Mirrors
from mlmgmt_nb.service.files.recordings import Recordings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.transitions import forget_kept, rollout_failed, rollout_succeeded, service_removed

__all__ = ["ServiceRecorder", "service_log"]


def service_log(home: Home, service_id: str) -> Log:
    return Log(home.logs / "services" / service_id)


class ServiceRecorder:
    """Writes results to the store and the logs.

    Args:
        on_change: called after each change of the store, with the id of the service if only its row has changed.
    """

    def __init__(
        self, store: Store, home: Home, recordings: Recordings, on_change: Callable[[str | None], None]
    ) -> None:
        self._store = store
        self._home = home
        self._recordings = recordings
        self._on_change = on_change
        self._logs: dict[str, Log] = {}

    def log(self, service_id: str) -> Log:
        return self._logs.setdefault(service_id, service_log(self._home, service_id))

    def set(self, service_id: str, **values: Any) -> None:
        """Update columns of a service."""
        services = schema.services
        with self._store.writing() as db:
            db.execute(update(services).where(services.c.id == service_id).values(**values))
        self._on_change(service_id)

    def begin(self, row: Row[Any]) -> None:
        """Record that the work on a service has begun."""
        if row.target_id is None or row.state != "NotStarted":
            return
        operations, services = schema.operations, schema.services
        with self._store.writing() as db:
            begun = db.execute(
                update(services)
                .where(services.c.id == row.id, services.c.target_id == row.target_id)
                .values(state="Running")
            )
            if begun.rowcount == 0:  # cancelled or deleted since it was read
                return
            db.execute(
                update(operations)
                .where(operations.c.resource_id == row.id, operations.c.end_time.is_(None))
                .values(state="Running")
            )
        self._on_change(row.id)

    def succeed(self, row: Row[Any], warning: str | None = None) -> bool:
        """Make the target deployment active; the operation gets the warning. Return False if the target changed
        meanwhile.
        """
        with self._store.writing() as db:
            if not rollout_succeeded(db, row.id, row.target_id, row.deployment_id, warning):
                return False
        self.log(row.id).line("[mlmgmt] deployed")
        self._on_change(None)
        return True

    def forget_kept(self, service_id: str) -> None:
        """Record that the replicas of the earlier deployment of a service are no longer kept."""
        with self._store.writing() as db:
            forget_kept(db, service_id)
        self._on_change(service_id)

    def fail(self, row: Row[Any], code: str, message: str) -> bool:
        """End the rollout. Return False if the target changed meanwhile."""
        with self._store.writing() as db:
            if not rollout_failed(db, row.id, row.target_id, "Failed", ErrorResponse(code=code, message=message)):
                return False
        self.log(row.id).line(f"[mlmgmt] the deployment failed: {message}")
        self._on_change(None)
        return True

    def remove(self, service_id: str) -> None:
        """Delete a service that is marked for deletion, with its log and its recorded requests."""
        # Before the row: after a crash in between, the service is still marked, and this is done again.
        self.log(service_id).remove()
        Mirrors(self._home.mirrors).remove(service_id)
        with self._store.writing() as db:
            service_removed(db, service_id)
        self._on_change(None)
        self._logs.pop(service_id, None)
        self._recordings.remove(service_id)  # perhaps at a storage that is away: the pruner tries again

    def clear(self) -> None:
        self._logs.clear()
