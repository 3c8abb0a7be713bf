"""Calls of a scoring URL: from data of the notebook to JSON, and from responses to results or errors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import requests

from mlmgmt_nb.client.http.responses import REQUEST_ID, error_body, is_scaled_to_zero
from mlmgmt_nb.client.http.transport import Timeout, Transport
from mlmgmt_nb.errors import ApiError, DriverError, ScoringError, UsageError
from mlmgmt_nb.scoring.encoding.encoder import JsonFormError, encode_json
from mlmgmt_nb.short_repr import short_repr

__all__ = ["Scored", "Scorer", "as_json", "encode_input", "swagger_arguments"]

_CONNECT_SECONDS = 3.05
_ANSWERS = frozenset(range(400, 600)) - {429, 503}  # requests with these two may be repeated: the service did not act


class Scored(NamedTuple):
    """A service's answer.

    Attributes:
        value: the decoded answer; text if it is not JSON.
        status: HTTP status.
        seconds: seconds from sending the request to the end of the response.
        request_id: id of the request in the service's log.
    """

    value: Any
    status: int
    seconds: float
    request_id: str

    def __repr__(self) -> str:
        return short_repr(self)


class Scorer(NamedTuple):
    """A scoring URL and its key."""

    transport: Transport
    scoring_uri: str
    key: str | None

    def __repr__(self) -> str:
        return f"<Scorer of {self.scoring_uri}>"

    @property
    def swagger_uri(self) -> str:
        """The URL of the service's description, beside its scoring URL."""
        return self.scoring_uri.rpartition("/")[0] + "/swagger.json"

    def swagger(self) -> dict[str, Any]:
        """Return the service's own description.

        Raises:
            ScoringError: the service did not return it.
        """
        return _object(self._send("GET", self.swagger_uri, timeout=None).content)

    def description(self) -> Mapping[str, Any]:
        """Return the result of `swagger`; empty for a service without a description."""
        try:
            return self.swagger()
        except ScoringError as error:
            if error.status_code == 404:
                return {}
            raise

    def score(self, body: bytes, timeout: float) -> Any:
        """Post a body and return the decoded answer (text if the answer is not JSON).

        Args:
            body: JSON, or another format that the driver accepts.
            timeout: maximum seconds to wait for the answer.

        Raises:
            DriverError: the driver raised an exception.
            ScoringError: the service answered with another error.
            TransportError: the service did not answer.
        """
        return _value(self._send("POST", self.scoring_uri, body, (_CONNECT_SECONDS, timeout)))

    def ask(self, body: bytes, timeout: float) -> Scored:
        """Post a body once, and return the answer with its details. Raises the errors of `score`."""
        began = time.perf_counter()
        answer = self._send("POST", self.scoring_uri, body, (_CONNECT_SECONDS, timeout), attempts=1)
        seconds = time.perf_counter() - began
        return Scored(_value(answer), answer.status_code, seconds, answer.headers.get("x-ms-request-id", ""))

    def _send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        timeout: Timeout | None = None,
        attempts: int | None = None,
    ) -> requests.Response:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            answer = self.transport.send(
                method,
                url,
                headers=headers,
                body=body,
                key=self.key,
                timeout=timeout,
                attempts=attempts,
                accept=_ANSWERS,
            )
        except ApiError as error:
            raise ScoringError(
                error.message,
                status_code=error.status_code,
                code=error.code,
                request_id=error.request_id,
                fix=_WAKE if is_scaled_to_zero(error) else _fix(error.status_code, error.code, error.request_id),
            ) from error
        if answer.status_code >= 400:
            raise _scoring_error(answer)
        return answer


def _value(answer: requests.Response) -> Any:
    try:
        return msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return answer.content.decode(errors="replace")


def swagger_arguments(swagger: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the arguments of `run` in a service's description; None for a driver without a schema."""
    given = swagger.get("definitions", {}).get("ServiceInput", {})
    return given.get("required") or list(given.get("properties") or ()) or None


def encode_input(data: Any, arguments: Sequence[str] | None) -> bytes:
    """Return the body of a scoring request.

    Args:
        data: text and bytes are sent unchanged; dicts, lists and numbers as JSON, with DataFrames in them as records
            and NumPy arrays as lists. A DataFrame or array by itself is the value of the driver's only argument.
        arguments: the arguments of the driver, from `swagger_arguments`; None for a driver without a schema.

    Raises:
        UsageError: the data cannot be written as JSON, or it is not clear which argument it is for.
    """
    if isinstance(data, str):
        return _utf8(data)
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    if arguments is not None and needs_argument(data):
        if len(arguments) != 1:
            raise UsageError(
                f"data: the driver takes the arguments {', '.join(arguments)}",
                field="data",
                fix=f"Give a dict, such as {{{arguments[0]!r}: data}}.",
            )
        data = {arguments[0]: data}
    return _encoded(data)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"data has a lone surrogate at character {error.start}, which UTF-8 cannot express",
            field="data",
            fix='Remove it: `data.encode("utf-8", "replace").decode()`.',
        ) from error


def as_json(value: Any) -> Any:
    """Return the value after a JSON round trip: arrays are lists, times are text.

    Raises:
        UsageError: it cannot be written as JSON.
    """
    return json.loads(_encoded(value))


def _encoded(data: Any) -> bytes:
    try:
        return encode_json(data)
    except JsonFormError as error:
        raise UsageError(
            f"{error.at('data') or 'data'} is {error.problem}",
            field="data",
            fix=error.fix or "Give a DataFrame, array, dict, list or text.",
        ) from error


def needs_argument(data: Any) -> bool:
    """Return whether the data is the value of an argument of `run`, named in the service's description."""
    return _is_frame(data) or hasattr(data, "__array__")


def _is_frame(data: Any) -> bool:
    pandas = sys.modules.get("pandas")  # if it is not imported, there cannot be a DataFrame
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _scoring_error(answer: requests.Response) -> ScoringError:
    body, status = error_body(answer), answer.status_code
    kind = DriverError if body.code == "DriverError" else ScoringError
    details = [detail.message for detail in body.details or () if detail.message not in body.message]
    message = "\n".join([body.message or f"the service answered {status} {answer.reason}", *details])
    request_id = body.request_id or answer.headers.get("x-ms-request-id") or answer.request.headers.get(REQUEST_ID, "")
    return kind(
        message,
        status_code=status,
        code=body.code,
        request_id=str(request_id),
        fix=_fix(status, body.code, str(request_id)),
    )


_UNAVAILABLE = {
    "TooManyRequests": "The service is busy: try again, or give it more replicas.",
    "NoReplicas": "`ws.services.logs(...)` has the log of the service.",
}
"""Fixes for a service that is not available, by code."""
_WAKE = "`ws.services.update(..., num_replicas=1)` starts a replica."


def _fix(status: int, code: str, request_id: str) -> str | None:
    if status == 401:
        return "The key is wrong; `ws.services.keys(...)` returns the current keys."
    if status == 503:
        return _UNAVAILABLE.get(code, "Try again.")
    if status >= 500:
        return f"`ws.services.logs(...)` has the traceback, under request {request_id}."
    return None


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScoringError(f"the service's description is not a JSON object: {error}", status_code=200) from error
