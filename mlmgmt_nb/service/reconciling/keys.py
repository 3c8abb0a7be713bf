"""Keys of services: digests for the replicas, sent again when the keys change."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Row

from mlmgmt_nb.service.compute.computes import Computes

__all__ = ["KeyDistribution", "digests"]


def digests(row: Row[Any]) -> list[str]:
    """Return the SHA-256 of both keys of a service, in hexadecimal. Replicas never see the keys themselves."""
    return [hashlib.sha256(key.encode()).hexdigest() for key in (row.primary_key, row.secondary_key)]


class KeyDistribution:
    """The digests that the replicas of each service have."""

    def __init__(self, computes: Computes) -> None:
        self._computes = computes
        self._sent: dict[str, list[str]] = {}

    def renew(self, row: Row[Any]) -> None:
        """Send keys that changed since the last round, including to replicas that are starting."""
        current = digests(row)
        if self._sent.setdefault(row.id, current) != current:
            self._computes[row.compute_id].set_keys(row.id, current, timeout=0)
            self._sent[row.id] = current

    def push(self, row: Row[Any], timeout: float) -> bool:
        """Send the current keys. Return False if a replica did not confirm within `timeout` seconds."""
        return self._computes[row.compute_id].set_keys(row.id, digests(row), timeout)

    def forget(self, service_id: str) -> None:
        self._sent.pop(service_id, None)

    def clear(self) -> None:
        self._sent.clear()
