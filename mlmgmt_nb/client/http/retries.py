"""Rules for retries: when a failed request is sent again, and after which pause.

A request is repeated if that is safe: GET, HEAD, PUT and DELETE after a broken connection, a timeout or a transient
error of the server; any method if no connection was made, or if the server reports that it did not act (429 or 503 with
`Retry-After`). A service that is scaled to zero replicas is not asked again: only an update ends that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import requests

from mlmgmt_nb.client.http.responses import api_error, is_scaled_to_zero, retry_after
from mlmgmt_nb.errors import ConnectError, MlmgmtError, TransportError

__all__ = ["Failure", "Retries", "jittered_pause"]

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_TRANSIENT = frozenset({408, 429, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 8.0
_LONGEST_WAIT = 60.0


class Failure(NamedTuple):
    """A failed attempt: its error, its response if there was one, and whether and when the request may be repeated."""

    error: MlmgmtError
    response: requests.Response | None
    may_repeat: bool
    wait: float | None = None

    @classmethod
    def without_response(cls, error: TransportError, method: str) -> Failure:
        """Return the failure of a request without a response."""
        return cls(error, None, isinstance(error, ConnectError) or method in _SAFE_TO_REPEAT)

    @classmethod
    def of(cls, response: requests.Response, method: str, token_source: str) -> Failure:
        """Return the failure for an error response."""
        status, wait = response.status_code, retry_after(response.headers)
        error = api_error(response, token_source=token_source)
        has_not_acted = status in {429, 503} and wait is not None
        may_repeat = has_not_acted or (method in _SAFE_TO_REPEAT and status in _TRANSIENT)
        return cls(error, response, may_repeat and not is_scaled_to_zero(error), wait)


class Retries:
    """The attempts of one request.

    Args:
        attempts: maximum number of attempts.
        pause: returns the seconds to wait after an attempt, from its number (the first is 1).
        clock: time in seconds.
    """

    def __init__(self, attempts: int, pause: Callable[[int], float], clock: Callable[[], float]) -> None:
        self._attempts = attempts
        self._pause = pause
        self._clock = clock
        self._started = clock()
        self._attempt = 0

    def begin(self) -> None:
        """Count an attempt."""
        self._attempt += 1

    def pause_after(self, failure: Failure) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            MlmgmtError: the error of the failure, if it was the last attempt.
        """
        pause = self._pause(self._attempt) if failure.wait is None else failure.wait
        is_late = self._clock() - self._started + pause > _LONGEST_WAIT
        if not failure.may_repeat or self._attempt >= self._attempts or is_late:
            raise failure.error
        return pause


def jittered_pause(attempt: int, uniform: Callable[[], float]) -> float:
    """Return the seconds to wait after an attempt (the first is 1): full jitter, doubling."""
    return uniform() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
