"""The exception hierarchy of mlmgmt-nb.

Errors for users derive from `MlmgmtError`, and state the problem and the fix. Errors of a request identify the request.
Errors of an operation have the operation and the location of its log::

    MlmgmtError
    ├── UsageError               an argument is invalid; nothing was sent (also a ValueError)
    ├── PackagingError           a package does not return the same answers as the object in the notebook
    ├── LocalServiceError        the embedded service cannot be found, started or stopped
    │   └── ServiceStoppedError  it was stopped, and requests in the background do not restart it
    ├── SignInError              a token could not be obtained
    ├── TransportError           the server did not respond
    │   ├── ConnectError         no connection: the server did not process the request
    │   └── AnswerTimeoutError   the server did not answer in time: it may have processed the request
    ├── ApiError                 the server answered with an error (`ErrorResponse`)
    │   ├── BadRequestError      400, 413, 415, 422: `details` name the fields
    │   ├── UnauthorizedError    401, 403
    │   ├── NotFoundError        404
    │   ├── ConflictError        409
    │   ├── ThrottledError       429, and 503 with Retry-After
    │   └── ServerError          any other 5xx
    ├── UploadError              content could not be uploaded, or was corrupted
    ├── OperationError           an operation did not succeed
    │   ├── OperationFailed      it ended `Failed` or `Cancelled`
    │   └── OperationTimeout     it has not ended yet; resume from `continuation_token` (also a TimeoutError)
    ├── ScoringError             a scoring request failed
    │   └── DriverError          `run()` of the driver raised
    └── ScoringTestFailed        answers of a scoring test are wrong, missing or late (also an AssertionError)

Images contain the scoring runtime without this module. It has separate errors, `mlmgmt_nb.scoring.errors`.
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
    """Base class of the errors of mlmgmt-nb.

    Example:
        >>> try:
        ...     ws.services.get("no-such-service")
        ... except MlmgmtError as error:
        ...     print(type(error).__name__, error.message, error.fix, sep="; ")
        NotFoundError; no service has the name 'no-such-service'; `ws.services.list()` lists the existing services.

    Args:
        message: the problem.
        fix: the action that solves it, shown on a separate line.
    """

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, `copy` and process pools: restore without `__init__`, whose arguments differ."""
        return _restored, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        return printable(f"{self.message}\n{self.fix}" if self.fix else self.message)


def _restored(kind: type[MlmgmtError], args: tuple[Any, ...]) -> MlmgmtError:
    error = kind.__new__(kind, *args)
    error.args = args  # `OSError.__new__` leaves them to `__init__`
    return error


class UsageError(MlmgmtError, ValueError):
    """An argument is invalid; nothing was sent. `field` is the name of the argument.

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
    """The embedded service was stopped. Requests in the background, such as from an open panel, do not restart it.

    Attributes:
        home: its state folder.
    """

    def __init__(self, message: str, *, home: Path, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.home = home


class SignInError(MlmgmtError):
    """A token could not be obtained: you are not signed in, or the sign-in was refused."""


class TransportError(MlmgmtError):
    """The server did not respond. `method`, `url` and `request_id` (`x-ms-client-request-id`) identify the request."""

    def __init__(
        self, message: str, *, method: str = "", url: str = "", request_id: str = "", fix: str | None = None
    ) -> None:
        super().__init__(message, fix=fix)
        self.method = method
        self.url = url
        self.request_id = request_id


class ConnectError(TransportError):
    """No connection could be made, so the server did not process the request."""


class AnswerTimeoutError(TransportError):
    """The server did not answer in time. It may have processed the request."""


class ApiError(MlmgmtError):
    """The server answered with an error.

    Attributes:
        status_code: the HTTP status.
        code: the `code` of the `ErrorResponse`, or the HTTP reason if the server did not send it.
        details: pairs of code and message. For a bad request, each message starts with the JSON path of a field.
        method, url, request_id: the request.
        retry_after: seconds to wait before a retry, as requested by the server, or None.
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
    """The request is invalid (400, 413, 415, 422). `details` has the JSON paths of the fields."""


class UnauthorizedError(ApiError):
    """The credential is missing, invalid or not sufficient (401, 403)."""


class NotFoundError(ApiError):
    """The resource does not exist (404)."""


class ConflictError(ApiError):
    """The state of a resource does not allow the request, or a name is taken (409)."""


class ThrottledError(ApiError):
    """The server requests a later retry (429, or 503 with Retry-After)."""


class ServerError(ApiError):
    """The server failed (5xx)."""


class UploadError(MlmgmtError):
    """Content could not be uploaded, or was corrupted."""


class OperationError(MlmgmtError):
    """An operation did not succeed.

    Attributes:
        operation: the last known `AsyncOperationStatus`, or None.
        continuation_token: token to resume the wait with `Poller.from_continuation_token`.
        log_uri: URL of the log of the build or service, or None.
        driver_traceback: the traceback of the driver if it failed, otherwise "".
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
    """The operation has not ended yet. It continues, and `continuation_token` resumes the wait.

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
        code: the error code of the answer.
        request_id: id of the request in the service log.
        service: id or name of the service, as given.
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
    """`run()` of the driver raised. The traceback is in the service log under `request_id`.

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
