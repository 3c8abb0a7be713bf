"""Current problems of a service in its `error`, without hiding the result of its last update.

The result of an update stays until the next update; during a problem, it is one of the details of the error.
"""

from __future__ import annotations

from mlmgmt_nb.contract import ErrorDetail, ErrorResponse

__all__ = ["CLUSTER_UNAVAILABLE", "PORT_TAKEN", "is_own", "with_condition", "without_condition"]

CLUSTER_UNAVAILABLE = "ClusterUnavailable"
"""Code of the problem that a cluster does not respond."""
PORT_TAKEN = "PortTaken"
"""Code of the problem that another program uses the port of a service."""
_EXTERNAL = frozenset({CLUSTER_UNAVAILABLE, PORT_TAKEN})
_CONDITIONS = _EXTERNAL | {"CrashLoop", "PodsNotReady"}


def with_condition(error: ErrorResponse | None, code: str, message: str) -> ErrorResponse:
    """Return the error of a service that has a problem.

    Args:
        error: its current error.
    """
    ended = without_condition(error)
    details = [ErrorDetail(code=ended.code, message=ended.message)] if ended else None
    return ErrorResponse(code=code, message=message, details=details)


def without_condition(error: ErrorResponse | None) -> ErrorResponse | None:
    """Return the error of a service without a problem: the error of its last update, if that failed."""
    if error is None or error.code not in _CONDITIONS:
        return error
    return next((ErrorResponse(code=one.code, message=one.message) for one in error.details or ()), None)


def is_own(error: ErrorResponse | None) -> bool:
    """Return whether a service has an error that is about its deployment, not only about its surroundings."""
    return error is not None and error.code not in _EXTERNAL
