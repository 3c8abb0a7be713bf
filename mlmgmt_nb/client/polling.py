"""Waiting for operations: pollers for the user, and one background thread for each workspace that polls the server."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.client.monitoring.logs import LogPart
from mlmgmt_nb.client.waiting import wait_for
from mlmgmt_nb.contract import AsyncOperationState, AsyncOperationStatus
from mlmgmt_nb.errors import (
    MlmgmtError,
    OperationFailed,
    OperationTimeout,
    PackagingError,
    ServerError,
    ServiceStoppedError,
    ThrottledError,
    TransportError,
    UsageError,
)

__all__ = ["Poller", "WatchedOperation", "Watcher"]

_FIRST_DELAY = 0.05
_BACKOFF = 1.5
_PATIENCE = 30.0
_ENDED = frozenset({"Cancelled", "Failed", "Succeeded"})

_log = logging.getLogger(__name__)
T = TypeVar("T")


class WatchedOperation:
    """The state of one operation, as far as it is known.

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
        """Return the seconds to the next poll: as the server asks, otherwise longer each time."""
        delay, self._delay = self._delay, min(self._delay * _BACKOFF, slowest)
        return delay if retry_after is None else retry_after

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, and once now if it is settled already."""
        with self._lock:
            self._listeners.append(listener)
        if self.settled.is_set():
            listener()

    def seen(self, status: AsyncOperationStatus) -> None:
        """Store a status from the server."""
        changed = self.status is None or self.status.state != status.state
        self.status, self.failing_since = status, None
        if self.ended:
            self.settled.set()
        if changed:
            self._notify()

    def lost(self, failure: Exception) -> None:
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


class Watcher:
    """Poll all open operations of a workspace, in one daemon thread that runs while any is open.

    Args:
        fetch: requests an operation's status once; the second value is its `Retry-After` in seconds.
        slowest: maximum seconds between two polls of an operation.
        clock: time in seconds.
    """

    def __init__(
        self,
        fetch: Callable[[str], tuple[AsyncOperationStatus, float | None]],
        *,
        slowest: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._slowest = slowest
        self._clock = clock
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, WatchedOperation]] = []
        self._open: set[WatchedOperation] = set()
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Follow no operation: the thread is the parent's. Pollers that are used here start again."""
        self._wake = threading.Condition()
        self._due, self._open, self._thread = [], set(), None

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
            watch.lost(UsageError("the workspace was closed", fix="Connect again; the operation continues."))
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def _schedule(self, watch: WatchedOperation, delay: float) -> None:
        heapq.heappush(self._due, (self._clock() + delay, next(self._order), watch))
        self._wake.notify()

    def _run(self) -> None:
        while (watch := self._next()) is not None:
            failure, delay = None, None
            try:
                delay = self._poll(watch)
            except Exception as error:  # noqa: BLE001 - who waits for it must hear of it, whatever it is
                failure = error
            with self._wake:
                if delay is None:
                    self._open.discard(watch)
                elif not self._closed:
                    self._schedule(watch, delay)
            if failure is not None:
                watch.lost(failure)

    def _next(self) -> WatchedOperation | None:
        """Wait until an operation is due and return it; None, and end the thread, when none is open."""
        with self._wake:
            while self._due:
                wait = self._due[0][0] - self._clock()
                if wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._wake.wait(wait)
            self._thread = None
            return None

    def _poll(self, watch: WatchedOperation) -> float | None:
        """Poll once. Return the seconds to the next poll, or None for never. Raise to give up."""
        try:
            with passive():
                status, wait = self._fetch(watch.operation_id)
        except (TransportError, ThrottledError, ServerError, ServiceStoppedError) as error:
            now = self._clock()
            if watch.failing_since is None:
                watch.failing_since = now
            if now - watch.failing_since >= _PATIENCE:
                raise
            return watch.next_delay(getattr(error, "retry_after", None), self._slowest)
        watch.seen(status)
        return None if watch.ended else watch.next_delay(wait, self._slowest)


class _Resumes(Protocol):
    """A workspace: its operations can be resumed."""

    operations: Any


class Poller(Generic[T]):
    """A running operation of the server, and the resource that it creates or changes.

    Dropping the poller, or interrupting a wait, never stops the operation; `continuation_token` takes the wait up
    again, in another process too. Made by `images.create`, `services.create`, `services.update`, `operations.poller`.

    Example:
        >>> building = ws.images.create("iris", ws.manifests.get("iris"))
        >>> token = building.continuation_token()
        >>> later = Poller.from_continuation_token(ws, token)
        >>> later.result(timeout=60).name
        'iris'
        >>> later.status()
        'Succeeded'

    Args:
        watch: the operation.
        watcher: looks at it.
        load: gets the resource of an operation that succeeded.
        log_uri: finds where the log of an operation that failed is.
        read_log: reads the log of an operation from an offset on, or so many lines at its end.
        on_failure: called with the error before `result` raises it.
    """

    def __init__(
        self,
        watch: WatchedOperation,
        watcher: Watcher,
        *,
        load: Callable[[AsyncOperationStatus], T],
        log_uri: Callable[[AsyncOperationStatus], str | None],
        read_log: Callable[[AsyncOperationStatus, int, int | None], LogPart],
        on_failure: Callable[[MlmgmtError], None] = lambda _: None,
    ) -> None:
        self._watch = watch
        self._watcher = watcher
        self._load = load
        self._log_uri = log_uri
        self._read_log = read_log
        self._on_failure = on_failure

    @classmethod
    def from_continuation_token(cls, workspace: _Resumes, continuation_token: str) -> Poller[T]:
        """Return the poller of an operation that an earlier poller waited for.

        Args:
            workspace: the account.
            continuation_token: that of the earlier poller.
        """
        poller: Poller[T] = workspace.operations.poller(continuation_token)
        return poller

    @property
    def operation_id(self) -> str:
        """The operation's id."""
        return self._watch.operation_id

    @property
    def operation(self) -> AsyncOperationStatus | None:
        """The last status of the operation, or None before the first response."""
        return self._watch.status

    def continuation_token(self) -> str:
        """Return the token for `from_continuation_token`: the operation's id."""
        return self._watch.operation_id

    def status(self) -> AsyncOperationState:
        """Return the last known state, without waiting; `NotStarted` before the first poll."""
        self._watcher.follow(self._watch)
        status = self._watch.status
        return (status.state if status else None) or "NotStarted"

    def done(self) -> bool:
        """Return whether `result` returns immediately: the operation has ended, or polling was given up."""
        self._watcher.follow(self._watch)
        return self._watch.settled.is_set()

    def wait(self, timeout: float | None = None) -> AsyncOperationStatus:
        """Wait until the operation has ended, successfully or not.

        Args:
            timeout: maximum seconds to wait; no limit if None.

        Raises:
            OperationTimeout: it has not ended yet.
            TransportError: the server could not be reached for half a minute; wait again to continue.
            ApiError: the server refused the request, such as for an unknown operation.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        watch = self._watch
        while watch.status is None or not watch.ended:
            self._watcher.follow(watch)
            if not wait_for(watch.settled, None if deadline is None else deadline - time.monotonic()):
                raise OperationTimeout(
                    f"operation {self.operation_id} has not ended after {timeout:g} s (it is {self.status()})",
                    operation=self.operation,
                    continuation_token=self.continuation_token(),
                    fix="It continues: wait again, or resume with `ws.operations.poller(error.continuation_token)`.",
                )
            failure = watch.take_failure()
            if failure is not None:
                raise failure
        if (warning := watch.take_warning()) is not None:
            warnings.warn(warning, stacklevel=2)
        return watch.status

    def result(self, timeout: float | None = None) -> T:
        """Wait as `wait` does and return the image or service.

        Args:
            timeout: maximum seconds to wait; no limit if None.

        Raises:
            OperationFailed: it ended `Failed` or `Cancelled`; the error has the operation and the URL of its log.
            OperationTimeout, TransportError, ApiError: as `wait`.
        """
        status = self.wait(timeout)
        try:
            return self._result(status)
        except (OperationFailed, PackagingError) as error:
            self._on_failure(error)
            raise

    def _result(self, status: AsyncOperationStatus) -> T:
        if status.state == "Succeeded":
            return self._load(status)
        message = status.error.message if status.error else "the server gave no reason"
        parts = (status.error.details if status.error else None) or ()
        details = [f"  {part.message}" for part in parts if part.code != "Log"]
        log_uri = self._log_uri(status)
        raise OperationFailed(
            "\n".join(
                [f"the {(status.operation_type or 'operation').lower()} ended {status.state}: {message}", *details]
            ),
            operation=status,
            continuation_token=self.continuation_token(),
            log_uri=log_uri,
            fix=f"The log is at {log_uri}" if log_uri else None,
        )

    def verified(self, check: Callable[[T], T]) -> Poller[T]:
        """Return a poller of the same operation whose `result` is what `check` returns for the resource.

        The outcome of the check is kept: the resource, or a `PackagingError` that each further `result` raises.
        """
        outcome: list[T | PackagingError] = []

        def load(status: AsyncOperationStatus) -> T:
            if not outcome:
                try:
                    outcome.append(check(self._load(status)))
                except PackagingError as error:
                    outcome.append(error)
            if isinstance(outcome[0], PackagingError):
                raise outcome[0]
            return outcome[0]

        return self._with(load=load)

    def undone(self, undo: Callable[[MlmgmtError], None]) -> Poller[T]:
        """Return a poller of the same operation that calls `undo` with the error each time before `result` raises it.

        An operation that nobody waits for is not undone.
        """
        return self._with(on_failure=undo)

    def _with(self, **changed: Any) -> Poller[T]:
        parts = {"load": self._load, "log_uri": self._log_uri, "read_log": self._read_log}
        return Poller(self._watch, self._watcher, **{**parts, "on_failure": self._on_failure, **changed})

    def log(self, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """Return the log of the operation's resource: of an image's build, or of a service since its creation.

        Args:
            offset: byte where to start: the `next_offset` of an earlier part.
            tail: number of lines at the end.

        Raises:
            NotFoundError: the log does not exist or was removed.
            TransportError, ApiError: the server could not be reached, or refused the request.
        """
        status = self._watch.status
        return LogPart("", offset) if status is None else self._read_log(status, offset, tail)

    def add_done_callback(self, callback: Callable[[Poller[T]], None]) -> None:
        """Call `callback(poller)` once when the operation has ended, in the background thread; at once if it has."""
        called = threading.Lock()

        def listener() -> None:
            if self._watch.ended and called.acquire(blocking=False):
                callback(self)

        self.add_change_callback(lambda _: listener())

    def add_change_callback(self, callback: Callable[[Poller[T]], None]) -> None:
        """Call `callback(poller)` in the background thread whenever the state changes or polling is given up."""
        self._watch.listen(lambda: callback(self))
        self._watcher.follow(self._watch)

    def __reduce__(self) -> tuple[Any, ...]:
        raise UsageError(
            "a poller cannot be copied or pickled",
            field="poller",
            fix="Take `poller.continuation_token()`, and continue there with `ws.operations.poller(token)`.",
        )

    def __repr__(self) -> str:
        status = self._watch.status
        return f"<Poller of operation {self.operation_id}: {status.state if status else 'not looked at yet'}>"
