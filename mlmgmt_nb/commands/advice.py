"""Errors of the client in the words of commands: the flag that is wrong, the command that shows the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlmgmt_nb.errors import DriverError, MlmgmtError, OperationFailed, OperationTimeout, UsageError

__all__ = ["advice"]

_FLAGS = {
    "path_or_url": ("model_file", "model"),
    "driver": ("driver",),
    "schema": ("schema_file",),
    "requirements": ("requirements",),
    "conda": ("conda_file",),
    "dependencies": ("dependency",),
}
"""The flags that an argument of the client comes from, by its name; the first that was given counts."""


@contextmanager
def advice(prog: str, arguments: Any) -> Iterator[None]:
    """Make errors raised in the block name flags and commands instead of Python.

    Args:
        prog: what stands before a command when the user calls it.
        arguments: those of the command that runs.
    """
    try:
        yield
    except MlmgmtError as error:
        if isinstance(error, OperationFailed):
            error.fix = _log(error, prog, arguments) or error.fix
        elif isinstance(error, OperationTimeout):
            error.fix = f"It goes on; `{prog} operation watch {error.continuation_token}` waits for it."
        elif isinstance(error, DriverError) and error.request_id:
            logs = f"{prog} service logs -n {arguments.service}"
            error.fix = f"`{logs} --request-id {error.request_id}` has the traceback."
        elif isinstance(error, UsageError):
            _name_flag(error, arguments)
        raise


def _log(error: OperationFailed, prog: str, arguments: Any) -> str | None:
    """Return the command that shows the log of a build or service that failed, if it has one."""
    if not error.log_uri or error.operation is None:
        return None
    resource = (error.operation.resource_location or "").rpartition("/")[2]
    kind = (error.operation.operation_type or "").lower()
    if kind == "image" and resource:
        return f"`{prog} image log -i {resource}` shows the log."
    name = getattr(arguments, "service_name", None) or getattr(arguments, "service", None) or resource
    return f"`{prog} service logs -n {name}` shows the log." if kind == "service" and name else None


def _name_flag(error: UsageError, arguments: Any) -> None:
    given = (name for name in _FLAGS.get(error.field or "", ()) if getattr(arguments, name, None))
    flag = next(given, None)
    if flag is not None:
        error.message = error.message.replace(f"{error.field}:", f"--{flag.replace('_', '-')}:", 1)
        error.field = flag
