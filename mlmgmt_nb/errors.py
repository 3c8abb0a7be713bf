"""The one error tree of mlmgmt-nb.

Every error that a user can meet derives from `MlmgmtError` and says what is wrong and how to put it right. Errors of a
request carry the request, errors of an operation the operation and where its log is::

    MlmgmtError
    ├── UsageError               an argument is wrong; nothing was sent (also a ValueError)
    ├── PackagingError           a package does not return the same answers as the object in the notebook
    ├── LocalServiceError        the embedded service cannot be found, started or stopped
    │   └── ServiceStoppedError  it was stopped, and reading commands do not start it again
    ├── SignInError              could not get a token
    ├── TransportError           the server did not respond
    │   ├── ConnectError         no connection: the request was not acted on
    │   └── AnswerTimeoutError   the server did not answer in time: it may have acted
    ├── ApiError                 the server answered with an error (`ErrorResponse`)
    │   ├── BadRequestError      400, 413, 415, 422: `details` name the fields
    │   ├── UnauthorizedError    401, 403
    │   ├── NotFoundError        404
    │   ├── ConflictError        409
    │   ├── ThrottledError       429, and 503 with Retry-After
    │   └── ServerError          any other 5xx
    ├── UploadError              bytes could not be sent, or arrived changed
    ├── OperationError           an operation did not end well
    │   ├── OperationFailed      it ended `Failed` or `Cancelled`
    │   └── OperationTimeout     it has not ended yet; resume from `continuation_token` (also a TimeoutError)
    ├── ScoringError             a scoring request failed
    │   └── DriverError          the user's own `run()` raised
    └── ScoringTestFailed        answers of a scoring test are wrong, missing or late (also an AssertionError)

The scoring runtime ships into images by itself and has its own small branch, `mlmgmt_nb.scoring.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlmgmt_nb.terminal import printable

__all__ = [
    "AnswerTimeoutError",
    "ApiError",
    "BadRequestError",
    "ConflictError",
    "ConnectError",
    "DriverError",
    "LocalServiceError",
    "MlmgmtError",
    "NotFoundError",
    "OperationError",
    "OperationFailed",
    "OperationTimeout",
    "PackagingError",
    "ScoringError",
    "ScoringTestFailed",
    "ServerError",
    "ServiceStoppedError",
    "SignInError",
    "ThrottledError",
    "TransportError",
    "UnauthorizedError",
    "UploadError",
    "UsageError",
]


class MlmgmtError(Exception):
    """Base of all errors of mlmgmt-nb.

    Example:
        >>> try:
        ...     ws.services.get("no-such-service")
        ... except MlmgmtError as error:
        ...     print(type(error).__name__, error.message, error.fix, sep="; ")
        NotFoundError; no service has the name 'no-such-service'; `ws.services.list()` has the existing ones.

    Args:
        message: what is wrong, in one sentence.
        fix: what the user can do about it, in one sentence; shown on a line of its own.
    """

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        """For `pickle`, `copy` and process pools: restore without `__init__`, whose arguments differ."""
        return _restored, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        return printable(f"{self.message}\n{self.fix}" if self.fix else self.message)


def _restored(kind: type[MlmgmtError], args: tuple[Any, ...]) -> MlmgmtError:
    error = kind.__new__(kind, *args)
    error.args = args  # which `OSError.__new__` leaves to `__init__`
    return error


class UsageError(MlmgmtError, ValueError):
    """An argument is wrong; nothing was sent. `field` names it.

    Example:
        >>> try:
        ...     ws.services.check("has space")
        ... except UsageError as error:
        ...     error.field
        'name'
    """

    def __init__(self, message: str, *, field: str | None = None, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.field = field


class PackagingError(MlmgmtError):
    """A packaged model does not return the same answers as the object in the notebook.

    Attributes:
        proof: the comparison, with the values that differ.
    """

    def __init__(self, message: str, *, proof: Any, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.proof = proof


class LocalServiceError(MlmgmtError):
    """The embedded service cannot be found, started or stopped."""


class ServiceStoppedError(LocalServiceError):
    """The embedded service was stopped. What only looks, such as an open panel, does not start it again.

    Attributes:
        home: its state folder.
    """

    def __init__(self, message: str, *, home: Path, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.home = home


class SignInError(MlmgmtError):
    """Could not get a token: nobody is signed in, or the sign-in was refused."""


class TransportError(MlmgmtError):
    """No answer was had. `method`, `url` and `request_id` (`x-ms-client-request-id`) name the request."""

    def __init__(
        self, message: str, *, method: str = "", url: str = "", request_id: str = "", fix: str | None = None
    ) -> None:
        super().__init__(message, fix=fix)
        self.method = method
        self.url = url
        self.request_id = request_id


class ConnectError(TransportError):
    """No connection could be made, so the server has not acted on the request."""


class AnswerTimeoutError(TransportError):
    """The server did not answer in time; it may have acted on the request."""


class ApiError(MlmgmtError):
    """The server answered with an error.

    Attributes:
        status_code: the HTTP status.
        code: the `code` of the `ErrorResponse`, or the HTTP reason where the server sent none.
        details: pairs of code and message; for a bad request each message starts with the JSON path of a field.
        method, url, request_id: the request.
        retry_after: seconds that the server asked to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str = "",
        details: Sequence[tuple[str, str]] = (),
        method: str = "",
        url: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.status_code = status_code
        self.code = code
        self.details = tuple(details)
        self.method = method
        self.url = url
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        lines = [self.message, *(f"  {message}" for _, message in self.details if message not in self.message)]
        if self.fix:
            lines.append(self.fix)
        return printable("\n".join(lines))


class BadRequestError(ApiError):
    """The request is wrong (400, 413, 415, 422); `details` name the fields by their JSON path."""


class UnauthorizedError(ApiError):
    """The credential is missing, wrong or not enough (401, 403)."""


class NotFoundError(ApiError):
    """The resource does not exist (404)."""


class ConflictError(ApiError):
    """The state of a resource does not allow the request, or a name is taken (409)."""


class ThrottledError(ApiError):
    """The server asks to try again later (429, or 503 with Retry-After)."""


class ServerError(ApiError):
    """The server failed (5xx)."""


class UploadError(MlmgmtError):
    """Bytes could not be sent, or arrived changed."""


class OperationError(MlmgmtError):
    """An operation did not end well.

    Attributes:
        operation: the last `AsyncOperationStatus` seen, or None.
        continuation_token: resumes the wait with `Poller.from_continuation_token`.
        log_uri: where the log of the build or service is, or None.
        driver_traceback: the traceback of the driver, if it failed; "" otherwise.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: Any = None,
        continuation_token: str = "",
        log_uri: str | None = None,
        driver_traceback: str = "",
        fix: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.operation = operation
        self.continuation_token = continuation_token
        self.log_uri = log_uri
        self.driver_traceback = driver_traceback


class OperationFailed(OperationError):  # noqa: N818 - the name of the state that it reports
    """The operation ended `Failed` or `Cancelled`; `operation.error` has the details."""


class OperationTimeout(OperationError, TimeoutError):  # noqa: N818 - as azure-core's and the standard library's
    """The operation has not ended yet; it goes on, and `continuation_token` resumes the wait.

    Example:
        >>> building = ws.images.create("iris", ws.manifests.get("iris"))
        >>> try:
        ...     image = building.result(timeout=0)
        ... except OperationTimeout as error:
        ...     image = ws.operations.poller(error.continuation_token).result(timeout=60)
        >>> image.creation_state
        'Succeeded'
    """


class ScoringError(MlmgmtError):
    """A scoring request failed.

    Attributes:
        status_code: the HTTP status.
        code: the `code` of the answer.
        request_id: finds the request in the service's log.
        service: id or name of the service, as it was given.
    """

    def __init__(
        self, message: str, *, status_code: int, code: str = "", request_id: str = "", fix: str | None = None
    ) -> None:
        super().__init__(message, fix=fix)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.service = ""


class DriverError(ScoringError):
    """The user's own `run()` raised; the traceback is in the service's log under `request_id`.

    Example:
        >>> try:
        ...     ws.services.run("iris", "no flowers")
        ... except DriverError as error:
        ...     (error.status_code, error.request_id in ws.services.logs("iris").text)
        (500, True)
    """


class ScoringTestFailed(MlmgmtError, AssertionError):  # noqa: N818 - an assertion
    """Answers of a test are wrong, missing or late, or a gate has not passed. `report` has the results."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message, fix="`error.report.results` has every request.")
        self.report = report
