"""The error for a request without a response: whether it may have reached the server, and the fix."""

from __future__ import annotations

import requests
import urllib3.exceptions as urllib3

from mlmgmt_nb.errors import AnswerTimeoutError, ConnectError, MlmgmtError, TransportError, UsageError
from mlmgmt_nb.redaction import redacted

__all__ = ["transport_error"]


def transport_error(error: requests.RequestException, method: str, url: str, request_id: str) -> MlmgmtError:
    """Return the error for a request without a response."""
    where = url.partition("?")[0]
    known = {"method": method, "url": redacted(url), "request_id": request_id}
    if isinstance(error, requests.exceptions.SSLError):
        return TransportError(
            f"the certificate of {where} is not trusted: {error}",
            fix="Name the CA bundle that signed it in the environment variable REQUESTS_CA_BUNDLE.",
            **known,
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectError(
            f"the proxy did not connect {method} {where}: {error}",
            fix="Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
            **known,
        )
    if isinstance(error, requests.ReadTimeout):
        return AnswerTimeoutError(
            f"no answer to {method} {where} in time",
            fix="The server may have processed the request: check before you repeat it, or give a longer `timeout`.",
            **known,
        )
    if isinstance(error, requests.ConnectTimeout) or _never_connected(error):
        return ConnectError(
            f"no connection to {where}",
            fix="Check that the service runs there (`mlmgmt serve` starts one, `mlmgmt status` shows it).",
            **known,
        )
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return TransportError(
            f"the connection broke during {method} {where}",
            fix="The server may have processed the request: check before you repeat it.",
            **known,
        )
    return UsageError(f"{method} {where} cannot be sent: {error}", field="url")


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, urllib3.MaxRetryError) else cause
    return isinstance(reason, urllib3.NewConnectionError)
