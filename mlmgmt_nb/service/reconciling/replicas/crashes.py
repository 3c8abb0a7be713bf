"""Consecutive crashes of deployments: recorded for the reconciler, and reported in the `error` of a service."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.service.compute.base import Exit
from mlmgmt_nb.service.reconciling.current_errors import with_condition, without_condition
from mlmgmt_nb.service.reconciling.replicas.desired import Crashes
from mlmgmt_nb.service.reconciling.replicas.reconciler import STEADY_SECONDS

__all__ = ["CrashHistory"]

_LONG_LIFE_SECONDS = 10.0
"""Lifetime after which a crash does not count as consecutive, so that the replica is replaced immediately."""


class CrashHistory:
    """The consecutive crashes of each deployment.

    Attributes:
        crashes: by deployment id.
    """

    def __init__(self) -> None:
        self.crashes: dict[str, Crashes] = {}

    def add(self, ended: Exit, moment: float) -> int:
        """Add a crash; return the number of consecutive crashes."""
        before = self.crashes.get(ended.deployment_id)
        in_a_row = before is not None and moment - before.last < STEADY_SECONDS and ended.lived < _LONG_LIFE_SECONDS
        count = (before.count if before is not None and in_a_row else 0) + 1
        self.crashes[ended.deployment_id] = Crashes(
            count=count, last=moment, code=ended.code, message=ended.message, permanent=ended.permanent
        )
        return count

    def error_of(self, row: Row[Any], moment: float, *, is_open: bool) -> ErrorResponse | None:
        """Return the error of a service, with the condition `CrashLoop` while its replicas keep crashing."""
        error: ErrorResponse | None = row.error
        if row.target_id is not None or row.serving_status != "Active":
            return error
        died = self.crashes.get(row.deployment_id)
        if died is not None and died.count > 1 and moment - died.last < STEADY_SECONDS:
            message = f"Replicas keep ending ({died.count} in a row); the last: {died.message}"
            return with_condition(error, "CrashLoop", message)
        return without_condition(error) if is_open else error

    def forget(self, deployment_id: str) -> None:
        self.crashes.pop(deployment_id, None)

    def clear(self) -> None:
        self.crashes.clear()
