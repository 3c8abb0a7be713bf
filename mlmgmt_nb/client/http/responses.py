"""HTTP responses as values: the decoded body, or an error of `mlmgmt_nb.errors`."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests

from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.contract import ErrorDetail, ErrorResponse
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.errors import (
    ApiError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
)
from mlmgmt_nb.redaction import redacted

__all__ = ["REQUEST_ID", "ErrorBody", "api_error", "decode", "error_body", "is_scaled_to_zero", "retry_after"]

REQUEST_ID = "x-ms-client-request-id"
"""The header that carries the id of a request."""

_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: NotFoundError,
    409: ConflictError,
    413: BadRequestError,
    415: BadRequestError,
    422: BadRequestError,
    429: ThrottledError,
}
_LONGEST_TEXT = 300
_LONGEST_WAIT = 86_400.0
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_RESOLVING = ForkLock()

T = TypeVar("T")


class ErrorBody(msgspec.Struct, rename="camel"):
    """The parts of an `ErrorResponse` that we read; servers send more or fewer, or put them inside `error`."""

    code: str = ""
    message: str = ""
    details: list[ErrorDetail] | None = None
    request_id: str | None = None
    error: ErrorResponse | None = None


resolve(ErrorBody)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait from `Retry-After` (a number or an HTTP date), or None without a valid one."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), _LONGEST_WAIT)
    try:
        return min(max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()), _LONGEST_WAIT)
    except (ValueError, OverflowError):
        return None


def is_scaled_to_zero(error: ApiError) -> bool:
    """Return whether a service refused a request because it is fixed at zero replicas, which does not end by itself.

    Other services without replicas may answer soon: they start, wake up, or have no room at the moment.
    """
    return error.code == "NoReplicas" and "scaled to zero replicas" in error.message


def decode(response: requests.Response, type_: type[T]) -> T:
    """Return the body of a successful answer.

    Raises:
        ServerError: the body does not follow the contract; the message has the JSON path.
    """
    try:
        return _decoder(type_).decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(
            f"the response does not follow the API contract: {error}{_named(response)}",
            status_code=response.status_code,
            code="InvalidAnswer",
            fix="Check that base_url names an account of a Model Management service.",
            **_request_of(response),
        ) from error


def _decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a type. One thread makes it, for the reason that `resolve` describes."""
    if (known := _DECODERS.get(type_)) is None:
        with _RESOLVING:
            known = _DECODERS.setdefault(type_, msgspec.json.Decoder(type_))
    return known


def error_body(response: requests.Response) -> ErrorBody:
    """Return the `ErrorResponse` of a failed answer, or its readable parts."""
    try:
        body = msgspec.json.decode(response.content, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_page = "html" in response.headers.get("Content-Type", "")
        return ErrorBody(message="" if is_page else response.content.decode(errors="replace").strip()[:_LONGEST_TEXT])
    if body.error and not body.message:
        return ErrorBody(body.error.code, body.error.message, body.error.details, body.request_id)
    return body


def api_error(response: requests.Response, *, token_source: str = "") -> ApiError:
    """Return the error for a failed response.

    Args:
        response: the answer.
        token_source: the source of the request's token, for the fix of a 401.
    """
    body = error_body(response)
    status, wait = response.status_code, retry_after(response.headers)
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if status == 503 and wait is not None:
        kind = ThrottledError
    message = body.message or f"the server answered {status} {response.reason or ''}".strip()
    return kind(
        message + _named(response),
        status_code=status,
        code=body.code or (response.reason or str(status)),
        details=[(detail.code, detail.message) for detail in body.details or ()],
        retry_after=wait,
        fix=_fix(response, wait, token_source),
        **_request_of(response),
    )


def _fix(response: requests.Response, wait: float | None, token_source: str) -> str | None:
    status = response.status_code
    if status == 401:
        came = f"The token came from {token_source}. " if token_source else ""
        return f"{came}Sign in with `mlmgmt login`, or give the server's token as `token` or in MLMGMT_TOKEN."
    if status == 403:
        return "Ask the owner of the account for access."
    if status in {429, 503}:
        return f"Try again in {wait:g} s." if wait is not None else "Try again later."
    if 300 <= status < 400:
        return f"The server points to {response.headers.get('Location', 'another URL')}; give that as base_url."
    return None


def _named(response: requests.Response) -> str:
    request = response.request
    return f" ({response.status_code} for {request.method} {urlsplit(str(request.url)).path})"


def _request_of(response: requests.Response) -> dict[str, Any]:
    request = response.request
    request_id = str(request.headers.get(REQUEST_ID, ""))
    return {"method": request.method or "", "url": redacted(str(request.url)), "request_id": request_id}
