"""The services in the store, cached until they may have changed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from mlmgmt_nb.contract.extensions import ChangeRecord
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["ServiceRows", "changed_services", "kept_deployment"]

_MAX_AGE_SECONDS = 60.0
"""Seconds after which a change without a notification, such as by another program, is noticed."""
_MOST_IDS = 100
"""Maximum number of services that are read individually; all are read if more have changed."""


class ServiceRows:
    """Rows of services, each with the specs of its current and its target deployment.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._rows: dict[str, Row[Any]] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()
        self._is_stale = True
        self._stale_ids: set[str] = set()

    def invalidate(self, service_id: str | None = None) -> None:
        """Read the store at the next `read`. Call this after a change is committed.

        Args:
            service_id: the only service whose row has changed; None if others may have.
        """
        with self._lock:
            if service_id is None or len(self._stale_ids) >= _MOST_IDS:
                self._is_stale = True
            else:
                self._stale_ids.add(service_id)

    def read(self) -> tuple[Mapping[str, Row[Any]], bool]:
        """Return the rows by service id, and whether they were read again.

        Other processes that share the store announce their changes, but announcements may be lost: a shared store is
        read each time.
        """
        is_old = self._clock() - self._read_at >= _MAX_AGE_SECONDS
        with self._lock:  # cleared first: a change during the read causes another read
            is_stale, ids = self._is_stale or self._store.is_shared or is_old, self._stale_ids
            self._is_stale, self._stale_ids = False, set()
        if not (is_stale or ids):
            return self._rows, False
        try:
            self._rows = self._read() if is_stale else self._with(ids)
        except BaseException:
            self.invalidate()
            raise
        if is_stale:
            self._read_at = self._clock()
        return self._rows, True

    def _with(self, ids: Collection[str]) -> dict[str, Row[Any]]:
        """Return the rows, with those of some services read again."""
        kept = {id_: row for id_, row in self._rows.items() if id_ not in ids}
        return kept | self._read(schema.services.c.id.in_(ids))

    def _read(self, *conditions: ColumnElement[bool]) -> dict[str, Row[Any]]:
        services, deployments = schema.services, schema.deployments
        target = deployments.alias("target")
        query = (
            select(
                services,
                deployments.c.spec.label("serving_spec"),
                deployments.c.secrets.label("serving_secrets"),
                deployments.c.status.label("serving_status"),
                deployments.c.change.label("serving_change"),
                target.c.spec.label("target_spec"),
                target.c.change.label("target_change"),
                target.c.secrets.label("target_secrets"),
            )
            .join(deployments, deployments.c.id == services.c.deployment_id)
            .outerjoin(target, target.c.id == services.c.target_id)
            .where(*conditions)
        )
        with self._store.reading() as db:
            return {row.id: row for row in db.execute(query)}


def kept_deployment(row: Row[Any], now: dt.datetime) -> str | None:
    """Return the earlier deployment whose replicas are kept for a rollback, or None."""
    change: ChangeRecord | None = row.target_change if row.target_id is not None else row.serving_change
    return change.replaces if change is not None and change.keeps(now) else None


def changed_services(before: Mapping[str, Row[Any]], after: Mapping[str, Row[Any]]) -> set[str]:
    """Return the ids of services that may need an action because a row differs: their own, that of their candidate, or
    that of the service to which they belong as a candidate.
    """
    changed = {id_ for id_, row in after.items() if before.get(id_) is not row and before.get(id_) != row} | (
        before.keys() - after.keys()
    )
    rows = {**before, **after}
    services = {rows[id_].candidate_of for id_ in changed} - {None}
    return changed | services | {id_ for id_, row in after.items() if row.candidate_of in changed}
