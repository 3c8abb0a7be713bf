"""The services in the store, cached and read again only when they may have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Row, select

from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["ServiceRows", "changed_services"]

_MAX_AGE_SECONDS = 60.0
"""Seconds until an unannounced change, such as by another program, is noticed."""


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
        self._is_stale = threading.Event()
        self._is_stale.set()

    def invalidate(self) -> None:
        """Read the store at the next look, because a service has changed. Call this after the change is committed."""
        self._is_stale.set()

    def read(self) -> tuple[Mapping[str, Row[Any]], bool]:
        """Return the rows by service id, and whether they were read again.

        Another process that shares the store announces its changes, but an announcement may be lost: then the store is
        read each time.
        """
        is_old = self._clock() - self._read_at >= _MAX_AGE_SECONDS
        if not (self._is_stale.is_set() or self._store.is_shared or is_old):
            return self._rows, False
        # Cleared first: a change during the read causes another read.
        self._is_stale.clear()
        try:
            self._rows = self._read()
        except BaseException:
            self._is_stale.set()
            raise
        self._read_at = self._clock()
        return self._rows, True

    def _read(self) -> dict[str, Row[Any]]:
        services, deployments = schema.services, schema.deployments
        target = deployments.alias("target")
        query = (
            select(
                services,
                deployments.c.spec.label("serving_spec"),
                deployments.c.secrets.label("serving_secrets"),
                deployments.c.status.label("serving_status"),
                target.c.spec.label("target_spec"),
                target.c.secrets.label("target_secrets"),
            )
            .join(deployments, deployments.c.id == services.c.deployment_id)
            .outerjoin(target, target.c.id == services.c.target_id)
        )
        with self._store.reading() as db:
            return {row.id: row for row in db.execute(query)}


def changed_services(before: Mapping[str, Row[Any]], after: Mapping[str, Row[Any]]) -> set[str]:
    """Return the ids of services that may need an action because rows differ: their own, or that of their candidate or
    of the service that they are a candidate of.
    """
    changed = {id_ for id_, row in after.items() if before.get(id_) != row} | (before.keys() - after.keys())
    rows = {**before, **after}
    services = {rows[id_].candidate_of for id_ in changed} - {None}
    return changed | services | {id_ for id_, row in after.items() if row.candidate_of in changed}
