"""Errors of the scoring runtime.

::

    RuntimeFailure
    ├── LoadError       the application cannot be served: bad driver, schema or folder; the process ends with code 3
    ├── RequestError    one request cannot be answered as asked; becomes an HTTP answer
    └── ClientDisconnected      the caller hung up

A failure in the user's `run` is a `RequestError` with the code `DriverError` and the traceback as text.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

__all__ = [
    "ClientDisconnected",
    "LoadError",
    "PicklableError",
    "RequestError",
    "RuntimeFailure",
    "driver_failure",
    "last_line",
]


_NOT_IN_MAIN = re.compile(
    r"Can't get (?:local )?(?:attribute|object) '([\w.]+)' on <module '(?:[\w.]+\.)?__main__'"
    r"|module '(?:[\w.]+\.)?__main__' has no attribute '([\w.]+)'"
)
"""The message of unpickling for a missing class or function, in all releases of Python."""
_CHOSEN = ("azureml.api.exceptions", "mlmgmt_nb.scoring.compat.exceptions")


class PicklableError(Exception):
    """An error whose `__init__` takes more than the message: `pickle` and `copy` restore it without calling `__init__`.

    A driver, or a user of schemas, may raise it in a process of a pool.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self), *self.args), self.__dict__


class RuntimeFailure(PicklableError):  # noqa: N818 - "RuntimeError" is Python's
    """Base of the errors of the scoring runtime."""


class LoadError(RuntimeFailure):
    """The application cannot be served.

    Args:
        code: `DriverSyntaxError`, `DriverImportError`, `DriverNoRun`, `DriverSignatureError`, `DriverInitError`,
            `SchemaError` or `ApplicationError`.
        message: one line that describes the fault, with file and line where useful.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RequestError(RuntimeFailure):
    """A request that is answered with an error.

    Args:
        status: the HTTP status.
        code: one word for programs, such as `BadInput` or `DriverError`.
        message: one sentence that describes the fault.
        details: pairs of code and message, one for each fault found.
        headers: additional headers of the answer.

    Attributes:
        trace: the traceback in the user's code, as text: the exception itself would keep the frames of `run` alive.
    """

    trace = ""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.headers = dict(headers or {})


class ClientDisconnected(RuntimeFailure):
    """The caller hung up before there was an answer."""


def driver_failure(error: BaseException) -> RequestError:
    """Return the answer for an exception that the user's `run` raised: 500 with the exception's type and text."""
    status = getattr(error, "status_code", None)
    if type(error).__module__.startswith(_CHOSEN):  # the driver chose the answer
        code = "BadInput" if status == 400 else type(error).__name__.removesuffix("Exception")
        message = str(getattr(error, "message", error))
        return RequestError(int(status or 500), code, message, details=[(code, message)] if status == 400 else ())
    if type(error).__module__ == "werkzeug.exceptions" and getattr(error, "code", None):  # chosen with flask.abort()
        text = str(getattr(error, "description", error))
        return RequestError(int(error.code), type(error).__name__, text)  # type: ignore[attr-defined]
    if isinstance(error, SystemExit):
        message = f"run() tried to end the process: SystemExit({error.code!r})"
    else:
        message = "".join(traceback.format_exception_only(error)).strip() + _unpickling_advice(error)
    failure = RequestError(500, "DriverError", message)
    failure.trace = "".join(traceback.format_exception(type(error), error, _in_user_code(error.__traceback__))).rstrip()
    return failure


def _in_user_code(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the leading frames of the runtime; all of it if only those exist."""
    ours = os.path.dirname(os.path.abspath(__file__)) + os.sep
    begin = trace
    while begin is not None and os.path.abspath(begin.tb_frame.f_code.co_filename).startswith(ours):
        begin = begin.tb_next
    return begin or trace


def last_line(error: BaseException, folder: str) -> str:
    """Return the last line of an exception's traceback, with the innermost location in `folder`.

    Args:
        error: an exception that user code raised.
        folder: absolute path of the application folder.
    """
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    message = lines[-1] if isinstance(error, SyntaxError) else "; ".join(lines)
    places = [
        f"{os.path.relpath(frame.filename, folder)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(folder + os.sep)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        places.append(f"{os.path.basename(error.filename)}:{error.lineno}")
    return (f"{message} ({places[-1]})" if places else message) + _unpickling_advice(error)


def _unpickling_advice(error: BaseException) -> str:
    """Return advice for an object whose class was pickled in a notebook or script, where `__main__` defined it."""
    found = _NOT_IN_MAIN.search(str(error)) if isinstance(error, AttributeError) else None
    if found is None:
        return ""
    name = found[1] or found[2]
    return (
        f". {name} was defined in the notebook or script that pickled it. Move it into its own module, import it "
        'from there, pickle again, and send the module along: `-d MODULE.py`, or `dependencies=["MODULE.py"]`.'
    )
