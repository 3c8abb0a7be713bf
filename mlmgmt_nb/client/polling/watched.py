"""The state of one operation, shared by its pollers and the thread that polls the server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.contract import AsyncOperationStatus

__all__ = ["WatchedOperation"]

_FIRST_DELAY = 0.03
_BACKOFF = 1.25
"""The end of an operation is noticed late by an eighth of its time on average."""
_ENDED = frozenset({"Cancelled", "Failed", "Succeeded"})

_log = logging.getLogger(__name__)


class WatchedOperation:
    """The known state of one operation.

    Attributes:
        operation_id: the operation.
        status: the last status from the server, or None.
        failure: why polling was given up, or None.
        settled: set when the operation has ended or polling was given up.
    """

    def __init__(self, operation_id: str, first_delay: float | None = None) -> None:
        self.operation_id = operation_id
        self.status: AsyncOperationStatus | None = None
        self.failure: Exception | None = None
        self.settled = threading.Event()
        self.first_delay = _FIRST_DELAY if first_delay is None else first_delay
        self.failing_since: float | None = None
        self._delay = _FIRST_DELAY
        self._has_warned = False
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Wait again, without the listeners, which belong to the parent process."""
        is_settled = self.ended or self.failure is not None
        self._lock, self.settled = threading.Lock(), threading.Event()
        self._listeners = []
        if is_settled:
            self.settled.set()

    @property
    def ended(self) -> bool:
        return self.status is not None and self.status.state in _ENDED

    def next_delay(self, retry_after: float | None, slowest: float) -> float:
        """Return the seconds to the next poll: the server's `Retry-After`, otherwise longer each time."""
        delay, self._delay = self._delay, min(self._delay * _BACKOFF, slowest)
        return delay if retry_after is None else retry_after

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, and once now if it is settled already."""
        with self._lock:
            self._listeners.append(listener)
        if self.settled.is_set():
            listener()

    def update(self, status: AsyncOperationStatus) -> None:
        """Store a status from the server."""
        changed = self.status is None or self.status.state != status.state
        self.status, self.failing_since = status, None
        if self.ended:
            self.settled.set()
        if changed:
            self._notify()

    def fail(self, failure: Exception) -> None:
        """Give up polling."""
        self.failure = failure
        self.settled.set()
        self._notify()

    def take_warning(self) -> str | None:
        """Return the warning of the operation, once."""
        warning = getattr(self.status, "warning", None)
        taken, self._has_warned = self._has_warned, self._has_warned or warning is not None
        return None if taken else warning

    def take_failure(self) -> Exception | None:
        """Return why polling was given up, and clear it, so that polling can start again."""
        with self._lock:
            failure = self.failure
            if failure is not None:
                self.failure, self.failing_since, self._delay = None, None, _FIRST_DELAY
                self.settled.clear()
            return failure

    def _notify(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001 - a listener's mistake must not stop the other pollers
                _log.exception("a callback of operation %s failed", self.operation_id)
