"""What is wrong with a service at present, in its `error`, without hiding how its last update ended.

Troubles come and go. What an update ended with stays until the next one; during a trouble it is a detail of that.
"""

from __future__ import annotations

from mlmgmt_nb.contract import ErrorDetail, ErrorResponse

__all__ = ["in_trouble", "out_of_trouble"]

_TROUBLES = frozenset({"CrashLoop", "PortTaken"})


def in_trouble(error: ErrorResponse | None, code: str, message: str) -> ErrorResponse:
    """Return the error of a service that has come into trouble.

    Args:
        error: what its error is now.
    """
    ended = out_of_trouble(error)
    details = [ErrorDetail(code=ended.code, message=ended.message)] if ended else None
    return ErrorResponse(code=code, message=message, details=details)


def out_of_trouble(error: ErrorResponse | None) -> ErrorResponse | None:
    """Return the error of a service that has no trouble any more: what its last update ended with, if that had one."""
    if error is None or error.code not in _TROUBLES:
        return error
    return next((ErrorResponse(code=one.code, message=one.message) for one in error.details or ()), None)
