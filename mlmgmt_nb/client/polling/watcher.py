"""The background thread of a workspace that polls the server for its open operations.

A few are polled one by one. More are read from the list of operations in one request; the longer that takes, the less
often, so that many operations cost little.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence

from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.client.polling.watched import WatchedOperation
from mlmgmt_nb.contract import AsyncOperationStatus
from mlmgmt_nb.errors import (
    ApiError,
    LocalServiceError,
    MlmgmtError,
    ServerError,
    ThrottledError,
    TransportError,
    UsageError,
)

__all__ = ["Watcher"]

_PATIENCE = 30.0
_FEW = 8
"""Number of open operations that are polled one by one."""
_SHARE = 0.005
"""Maximum share of a core for polling more than a few."""
_SLOWEST_SECONDS = 10.0
_NO_LIST = frozenset({404, 405})


class Watcher:
    """Poll all open operations of a workspace, in one daemon thread that runs while any is open.

    Args:
        fetch: requests the status of an operation once; the second value is its `Retry-After` in seconds.
        slowest: maximum seconds between two polls of an operation.
        clock: time in seconds.
        fetch_newest: requests the given number of newest operations of the account; None if the server has no list.
        used: the CPU time of the current thread, in seconds.
    """

    def __init__(
        self,
        fetch: Callable[[str], tuple[AsyncOperationStatus, float | None]],
        *,
        slowest: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        fetch_newest: Callable[[int], Sequence[AsyncOperationStatus]] | None = None,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        self._fetch = fetch
        self._fetch_newest = fetch_newest
        self._used = used
        self._slowest = slowest
        self._clock = clock
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, WatchedOperation]] = []
        self._open: set[WatchedOperation] = set()
        self._older: set[WatchedOperation] = set()  # no longer among the newest
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the thread, which runs in the parent only. Pollers that are used in this process start again."""
        self._wake = threading.Condition()
        self._due, self._open, self._older, self._thread = [], set(), set(), None

    def follow(self, watch: WatchedOperation) -> None:
        """Poll the operation until it has ended. Do nothing if it has ended or is already polled."""
        with self._wake:
            if self._closed and not watch.settled.is_set():
                raise UsageError("the workspace is closed", fix="Connect again; the operation continues.")
            if watch.settled.is_set():
                return
            if watch not in self._open:
                self._open.add(watch)
                self._schedule(watch, watch.first_delay)
            if self._thread is None or not self._thread.is_alive():  # an interrupt may come as it starts
                self._thread = threading.Thread(target=self._run, name="mlmgmt-poller", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop polling, and end all waits with an error. The operations continue."""
        with self._wake:
            self._closed = True
            abandoned, thread = list(self._open), self._thread
            self._open.clear()
            self._due.clear()
            self._wake.notify()
        for watch in abandoned:
            watch.fail(UsageError("the workspace was closed", fix="Connect again; the operation continues."))
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def _schedule(self, watch: WatchedOperation, delay: float) -> None:
        heapq.heappush(self._due, (self._clock() + delay, next(self._order), watch))
        self._wake.notify()

    def _run(self) -> None:
        while (watch := self._next()) is not None:
            failure, delay = None, None
            if len(self._open) > _FEW and self._poll_many(watch):
                continue
            before = self._used()
            try:
                delay = self._poll(watch)
            except Exception as error:  # noqa: BLE001 - who waits for it must hear of it, whatever it is
                failure = error
            with self._wake:
                if delay is None:
                    self._open.discard(watch)
                    self._older.discard(watch)
                elif not self._closed:
                    fair = (self._used() - before) * len(self._open) / _SHARE if len(self._open) > _FEW else 0.0
                    self._schedule(watch, max(delay, min(fair, _SLOWEST_SECONDS)))
            if failure is not None:
                watch.fail(failure)

    def _next(self) -> WatchedOperation | None:
        """Wait until an operation is due, and return it; return None and end the thread if none is open."""
        with self._wake:
            while self._due:
                wait = self._due[0][0] - self._clock()
                if wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._wake.wait(wait)
            self._thread = None
            return None

    def _poll_many(self, watch: WatchedOperation) -> bool:
        """Poll all open operations that are among the newest; return False if `watch` is not, or on an error."""
        if self._fetch_newest is None or watch in self._older:
            return False
        before = self._used()
        newest = self._newest(self._fetch_newest)
        if newest is None:
            return False  # polling it individually counts the failure
        if watch.operation_id not in newest:
            self._older.add(watch)
            return False
        with self._wake:
            polled = [each for each in self._open if each.operation_id in newest]
        for each in polled:
            each.update(newest[each.operation_id])
        self._reschedule(polled, max(self._slowest, min((self._used() - before) / _SHARE, _SLOWEST_SECONDS)))
        return True

    def _newest(
        self, fetch: Callable[[int], Sequence[AsyncOperationStatus]]
    ) -> dict[str | None, AsyncOperationStatus] | None:
        """Return the newest operations by id; None on an error. A server without a list is not asked again."""
        try:
            with passive():
                return {status.id: status for status in fetch(2 * len(self._open))}
        except MlmgmtError as error:
            if isinstance(error, ApiError) and error.status_code in _NO_LIST:
                self._fetch_newest = None
            return None

    def _reschedule(self, polled: Sequence[WatchedOperation], pause: float) -> None:
        """Poll the operations again after the pause, except for those that have ended."""
        with self._wake:
            self._open.difference_update(each for each in polled if each.ended)
            self._due = [item for item in self._due if item[2] not in polled]
            heapq.heapify(self._due)
            for each in polled:
                if not each.ended and not self._closed:
                    self._schedule(each, pause)

    def _poll(self, watch: WatchedOperation) -> float | None:
        """Poll once. Return the seconds to the next poll, or None if there is none. Raise an error to give up."""
        try:
            with passive():
                status, wait = self._fetch(watch.operation_id)
        except (TransportError, ThrottledError, ServerError, LocalServiceError) as error:
            now = self._clock()
            if watch.failing_since is None:
                watch.failing_since = now
            if now - watch.failing_since >= _PATIENCE:
                raise
            return watch.next_delay(getattr(error, "retry_after", None), self._slowest)
        watch.update(status)
        return None if watch.ended else watch.next_delay(wait, self._slowest)
