"""The poller: the user's view of a running operation."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from mlmgmt_nb.client.monitoring.failures import driver_traceback, explanation, last_rollout
from mlmgmt_nb.client.monitoring.logs import LogPart
from mlmgmt_nb.client.polling.watched import WatchedOperation
from mlmgmt_nb.client.polling.watcher import Watcher
from mlmgmt_nb.client.waiting import wait_for
from mlmgmt_nb.contract import AsyncOperationState, AsyncOperationStatus
from mlmgmt_nb.errors import MlmgmtError, OperationFailed, OperationTimeout, PackagingError, UsageError

__all__ = ["Poller"]

T = TypeVar("T")

_MOST_LINES = 10
"""Lines of an error between its reason and the command that shows the log."""
_READ_LINES = 300


class _HasOperations(Protocol):
    """A workspace: its operations can be resumed."""

    operations: Any


class Poller(Generic[T]):
    """A running operation of the server, and the resource that it creates or changes.

    Dropping the poller, or interrupting a wait, does not stop the operation; `continuation_token` resumes the wait,
    also in another process. Made by `images.create`, `services.create`, `services.update`, `operations.poller`.

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
        watcher: polls it.
        load: returns the resource of an operation that succeeded.
        log_uri: returns the URL of the log of a failed operation.
        read_log: reads the log of an operation from an offset, or a number of lines at its end.
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
    def from_continuation_token(cls, workspace: _HasOperations, continuation_token: str) -> Poller[T]:
        """Return the poller of an operation that an earlier poller waited for.

        Args:
            workspace: the account.
            continuation_token: the token of the earlier poller.
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
            timeout: maximum seconds to wait (default: unlimited).

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
            timeout: maximum seconds to wait (default: unlimited).

        Raises:
            OperationFailed: it ended `Failed` or `Cancelled`; the error has the operation and the URL of its log.
            OperationTimeout, TransportError, ApiError: as for `wait`.
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
        reason = status.error.message if status.error else "the server gave no reason"
        details = _details(status)
        log_uri, log = self._log_uri(status), self._end_of_log(status)
        most = _MOST_LINES - len(details) if _needs_log(status) else 0
        explained = [f"  {line}" for line in explanation(log, reason, most)]
        of = f" of the {status.operation_type.lower()}" if status.operation_type else ""
        ended = f"{reason.rstrip('.')}; the operation{of} ended {status.state}"
        raise OperationFailed(
            "\n".join([ended, *explained, *details]),
            operation=status,
            continuation_token=self.continuation_token(),
            log_uri=log_uri,
            driver_traceback="\n".join(driver_traceback(log)),
            fix=f"The log is at {log_uri}" if log_uri else None,
        )

    def _end_of_log(self, status: AsyncOperationStatus) -> list[str]:
        """Return the last lines of the log; no lines if it cannot be read, since the reason is known without it."""
        if status.state != "Failed" or not status.resource_location:
            return []
        try:
            return last_rollout(self._read_log(status, 0, _READ_LINES).text.splitlines())
        except MlmgmtError:
            return []

    def verified(self, check: Callable[[T], T]) -> Poller[T]:
        """Return a poller of the same operation whose `result` is the value that `check` returns for the resource.

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
            offset: byte to start at: the `next_offset` of an earlier part.
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


def _details(status: AsyncOperationStatus) -> list[str]:
    """Return the lines of the error's details, without the one that has the URL of the log."""
    parts = (status.error.details if status.error else None) or ()
    return [f"  {part.message}" for part in parts if part.code != "Log"]


def _needs_log(status: AsyncOperationStatus) -> bool:
    """Return whether the reason alone does not explain the failure.

    The reasons of builds name the cause and the fix, except for commands of a Dockerfile, where only the output does.
    """
    return status.operation_type != "Image" or (status.error is not None and status.error.code == "BuildFailed")
