"""Errors of the database or the disk, as responses to the request that caused them."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.disk import DISK_FULL, READ_ONLY
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.store.database_file import StoreMissing
from mlmgmt_nb.service.store.store import OutcomeUnknown, StoreBusy, StoreReadOnly

__all__ = ["is_transient", "store_error", "store_problem"]

_FULL, _BUSY, _READ_ONLY, _AWAY = "DiskFull", "StoreBusy", "StoreReadOnly", "StoreUnavailable"
_DAMAGED = "StoreDamaged"

_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _AWAY,
    sqlite3.SQLITE_IOERR: _AWAY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
"""Error codes by SQLite's primary result code."""

_POSTGRESQL = {
    "53100": _FULL,
    "55P03": _BUSY,  # lock_not_available
    "40001": _BUSY,  # serialization_failure
    "40P01": _BUSY,  # deadlock_detected
    "25006": _READ_ONLY,
    "XX001": _DAMAGED,  # data_corrupted
    "XX002": _DAMAGED,  # index_corrupted
}
"""Error codes by SQLSTATE; `_POSTGRESQL_AWAY` has whole classes."""
_POSTGRESQL_AWAY = ("08", "53", "57P")  # no connection; no resources; shut down, starting

_ANSWERS = {
    _FULL: (507, "The disk of the service is full", "Free some space and try again."),
    _BUSY: (503, "The store is busy", "Try again."),
    _READ_ONLY: (503, "The store is read-only", "Make its disk writable."),
    _AWAY: (503, "The store cannot be reached", "Try again."),
    _DAMAGED: (
        500,
        "The database of the service is damaged",
        "See: mlmgmt check. Restore a backup to another folder: mlmgmt restore FILE --home FOLDER.",
    ),
}


def store_problem(error: Exception) -> Problem | None:
    """Return the response for an error of the store, or None for a bug."""
    if isinstance(error, OutcomeUnknown):
        # No Retry-After: a client must not repeat the request without checking.
        return Problem(
            500,
            "OutcomeUnknown",
            "The connection to the store broke during the write. Check whether it took effect, then try again.",
        )
    if isinstance(error, StoreMissing):
        return Problem(500, "StoreMissing", str(error))
    if isinstance(error, DataError):
        return Problem(400, "BadRequest", f"A value of the request cannot be stored: {str(error.orig).splitlines()[0]}")
    if str(getattr(getattr(error, "orig", None), "sqlstate", None)).startswith("54"):  # program_limit_exceeded
        return Problem(400, "BadRequest", "A name in the request is too long to be stored.")
    code = _code(error)
    if code is None:
        return None
    status, problem, fix = _ANSWERS[code]
    headers = {"retry-after": "1"} if status == 503 else None
    return Problem(status, code, f"{problem}; nothing was changed. {fix}", headers=headers)


def store_error(error: Exception) -> LocalServiceError | None:
    """Return the error to print for an error of the store, or None for a bug."""
    code = _code(error)
    if code is not None:
        _, problem, fix = _ANSWERS[code]
        return LocalServiceError(f"{problem}; nothing was changed.", fix=fix)
    found = store_problem(error)
    return None if found is None else LocalServiceError(str(found))


def is_transient(error: Exception) -> bool:
    """Return whether an error is due to the state of the database, not a bug."""
    return isinstance(error, OutcomeUnknown | StoreMissing) or _code(error) is not None


def _code(error: Exception) -> str | None:
    if isinstance(error, StoreBusy):
        return _BUSY
    if isinstance(error, StoreReadOnly):
        return _READ_ONLY
    if isinstance(error, OSError):
        return _FULL if error.errno in DISK_FULL else _READ_ONLY if error.errno in READ_ONLY else None
    return _database_code(error) if isinstance(error, DBAPIError) else None


def _database_code(error: DBAPIError) -> str | None:
    sqlite_code = getattr(error.orig, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return _SQLITE.get(sqlite_code & 0xFF)
    if not isinstance(error, OperationalError):
        # PostgreSQL's driver has subclasses of the standard error classes.
        return _POSTGRESQL.get(getattr(error.orig, "sqlstate", None) or "")
    state = getattr(error.orig, "sqlstate", None)
    if state in _POSTGRESQL:
        return _POSTGRESQL[state]
    return _AWAY if state is None or state.startswith(_POSTGRESQL_AWAY) else None
