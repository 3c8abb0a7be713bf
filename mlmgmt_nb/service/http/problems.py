"""Errors of a request, as exceptions that become an `ErrorResponse`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mlmgmt_nb.contract import ErrorDetail, ErrorResponse
from mlmgmt_nb.contract.limits import explain

__all__ = ["Problem", "bad_field", "conflict", "invalid", "not_found"]


class Problem(Exception):  # noqa: N818 - a response, not an error of the program
    """Ends a request with an `ErrorResponse`.

    Args:
        status: the HTTP status.
        code: machine-readable code, in PascalCase.
        message: the problem and the fix.
        details: pairs of a code and a message, which starts with the JSON path of the field.
        headers: additional response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.response = ErrorResponse(
            code=code,
            message=message,
            status_code=status,
            details=[ErrorDetail(code=c, message=m) for c, m in details] if details else None,
        )


def bad_field(path: str, message: str, code: str = "InvalidValue") -> Problem:
    """Return a 400 for one field. `path` is its JSON path (`$.name`) or the name of a parameter."""
    return Problem(400, "BadRequest", f"{path}: {message}", [(code, f"{path}: {message}")])


def invalid(error: msgspec.ValidationError, within: str | None = None) -> Problem:
    """Return a 400 for a value outside the limits of the contract. `within` is the parameter, if not the body."""
    path, message = explain(error)
    return bad_field(within or path, message)


def not_found(kind: str, resource_id: str, path: str | None = None, hint: str = "") -> Problem:
    """Return a 404. `path` is the JSON path of the field that named the resource, if any; `hint` is appended."""
    where = f"{path}: " if path else ""
    message = " ".join(filter(None, [f"{where}There is no {kind} with the id {resource_id!r} in this account.", hint]))
    return Problem(404, f"{kind.capitalize()}NotFound", message, [("NotFound", message)] if path else None)


def conflict(code: str, message: str) -> Problem:
    """Return a 409: the current state does not allow the request."""
    return Problem(409, code, message)
