"""Waiting for operations: pollers for the user, and one background thread a workspace that asks the server."""

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
from mlmgmt_nb.client.http.looking import only_looking
from mlmgmt_nb.client.logs import LogPart
from mlmgmt_nb.client.waiting import wait_for
from mlmgmt_nb.contract import AsyncOperationState, AsyncOperationStatus
from mlmgmt_nb.errors import (
    OperationFailed,
    OperationTimeout,
    PackagingError,
    ServerError,
    ServiceStoppedError,
    ThrottledError,
    TransportError,
    UsageError,
)

__all__ = ["Poller", "Watch", "Watcher"]

_FIRST_DELAY = 0.05
_BACKOFF = 1.5
_PATIENCE = 30.0
_ENDED = frozenset({"Cancelled", "Failed", "Succeeded"})

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Watch:
    """What is known of one operation.

    Attributes:
        operation_id: the operation.
        status: what the server said last, or None.
        failure: why asking was given up, or None.
        settled: set when the operation has ended or asking was given up.
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
        """Wait anew; who listened does so in the parent process."""
        is_settled = self.ended or self.failure is not None
        self._lock, self.settled = threading.Lock(), threading.Event()
        self._listeners = []
        if is_settled:
            self.settled.set()

    @property
    def ended(self) -> bool:
        return self.status is not None and self.status.state in _ENDED

    def next_delay(self, retry_after: float | None, slowest: float) -> float:
        """Seconds to the next look: what the server asks for, else longer each time."""
        delay, self._delay = self._delay, min(self._delay * _BACKOFF, slowest)
        return delay if retry_after is None else retry_after

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, and once now if it is settled already."""
        with self._lock:
            self._listeners.append(listener)
        if self.settled.is_set():
            listener()

    def seen(self, status: AsyncOperationStatus) -> None:
        """Take the server's answer."""
        changed = self.status is None or self.status.state != status.state
        self.status, self.failing_since = status, None
        if self.ended:
            self.settled.set()
        if changed:
            self._tell()

    def lost(self, failure: Exception) -> None:
        """Return up."""
        self.failure = failure
        self.settled.set()
        self._tell()

    def take_warning(self) -> str | None:
        """Return the warning of the operation, once."""
        warning = getattr(self.status, "warning", None)
        taken, self._has_warned = self._has_warned, self._has_warned or warning is not None
        return None if taken else warning

    def take_failure(self) -> Exception | None:
        """Why asking was given up. Told once: it can be asked again afterwards."""
        with self._lock:
            failure = self.failure
            if failure is not None:
                self.failure, self.failing_since, self._delay = None, None, _FIRST_DELAY
                self.settled.clear()
            return failure

    def _tell(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001 - a listener's mistake must not stop the other pollers
                _log.exception("a callback of operation %s failed", self.operation_id)


class Watcher:
    """Asks for the state of all open operations of a workspace, in one daemon thread that lives while any is open.

    Args:
        fetch: asks the server once for an operation's status; the second value is its `Retry-After` in seconds.
        slowest: most seconds between two looks at an operation.
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
        self._due: list[tuple[float, int, Watch]] = []
        self._open: set[Watch] = set()
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Follows nothing yet: the thread is the parent's. Each poller that is asked here is followed again."""
        self._wake = threading.Condition()
        self._due, self._open, self._thread = [], set(), None

    def follow(self, watch: Watch) -> None:
        """Look at the operation until it has ended; does nothing when that is known, or it is followed already."""
        with self._wake:
            if self._closed and not watch.settled.is_set():
                raise UsageError("the workspace is closed", fix="Connect again: the operation goes on.")
            if watch.settled.is_set():
                return
            if watch not in self._open:
                self._open.add(watch)
                self._schedule(watch, watch.first_delay)
            if self._thread is None or not self._thread.is_alive():  # an interrupt may come as it starts
                self._thread = threading.Thread(target=self._run, name="mlmgmt-poller", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop looking; who waits is told so. The operations go on."""
        with self._wake:
            self._closed = True
            abandoned, thread = list(self._open), self._thread
            self._open.clear()
            self._due.clear()
            self._wake.notify()
        for watch in abandoned:
            watch.lost(UsageError("the workspace was closed", fix="Connect again: the operation goes on."))
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def _schedule(self, watch: Watch, delay: float) -> None:
        heapq.heappush(self._due, (self._clock() + delay, next(self._order), watch))
        self._wake.notify()

    def _run(self) -> None:
        while (watch := self._next()) is not None:
            failure, delay = None, None
            try:
                delay = self._look(watch)
            except Exception as error:  # noqa: BLE001 - who waits for it must hear of it, whatever it is
                failure = error
            with self._wake:
                if delay is None:
                    self._open.discard(watch)
                elif not self._closed:
                    self._schedule(watch, delay)
            if failure is not None:
                watch.lost(failure)

    def _next(self) -> Watch | None:
        """Wait until an operation is due and return it; None, and end the thread, when none is open."""
        with self._wake:
            while self._due:
                wait = self._due[0][0] - self._clock()
                if wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._wake.wait(wait)
            self._thread = None
            return None

    def _look(self, watch: Watch) -> float | None:
        """Asks once. Returns the seconds to the next look, or None when there is none. Raises when it gives up."""
        try:
            with only_looking():
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
    """An operation that goes on at the server, and the resource that it makes or changes.

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
    """

    def __init__(
        self,
        watch: Watch,
        watcher: Watcher,
        *,
        load: Callable[[AsyncOperationStatus], T],
        log_uri: Callable[[AsyncOperationStatus], str | None],
        read_log: Callable[[AsyncOperationStatus, int, int | None], LogPart],
    ) -> None:
        self._watch = watch
        self._watcher = watcher
        self._load = load
        self._log_uri = log_uri
        self._read_log = read_log

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
        """What the server said last of the operation, or None before its first answer."""
        return self._watch.status

    def continuation_token(self) -> str:
        """Return what `from_continuation_token` takes: the operation's id."""
        return self._watch.operation_id

    def status(self) -> AsyncOperationState:
        """Return the state that was seen last, without waiting; `NotStarted` before the first look."""
        self._watcher.follow(self._watch)
        status = self._watch.status
        return (status.state if status else None) or "NotStarted"

    def done(self) -> bool:
        """Whether `result` would come at once: the operation has ended, or asking for it was given up."""
        self._watcher.follow(self._watch)
        return self._watch.settled.is_set()

    def wait(self, timeout: float | None = None) -> AsyncOperationStatus:
        """Wait until the operation has ended, well or not.

        Args:
            timeout: most seconds to wait; without end when None.

        Raises:
            OperationTimeout: it has not ended yet.
            TransportError: the server could not be asked for half a minute; wait again to go on.
            ApiError: the server does not tell, such as for an unknown operation.
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
                    fix="It goes on: wait again, or resume with `ws.operations.poller(error.continuation_token)`.",
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
            timeout: most seconds to wait; without end when None.

        Raises:
            OperationFailed: it ended `Failed` or `Cancelled`; carries the operation and where its log is.
            OperationTimeout, TransportError, ApiError: as `wait`.
        """
        status = self.wait(timeout)
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

        return Poller(self._watch, self._watcher, load=load, log_uri=self._log_uri, read_log=self._read_log)

    def log(self, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """Return the log of what the operation works on: of an image's build, or of a service since it was made.

        Args:
            offset: byte where to start: the `next_offset` of an earlier part.
            tail: only so many lines at the end.

        Raises:
            NotFoundError: the log does not exist or was removed.
            TransportError, ApiError: the server could not be asked, or does not tell.
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
        """Call `callback(poller)` in the background thread whenever the state changes or asking is given up."""
        self._watch.listen(lambda: callback(self))
        self._watcher.follow(self._watch)

    def __reduce__(self) -> tuple[Any, ...]:
        raise UsageError(
            "a poller cannot be copied or pickled",
            field="poller",
            fix="Take `poller.continuation_token()`, and go on there with `ws.operations.poller(token)`.",
        )

    def __repr__(self) -> str:
        status = self._watch.status
        return f"<Poller of operation {self.operation_id}: {status.state if status else 'not looked at yet'}>"
