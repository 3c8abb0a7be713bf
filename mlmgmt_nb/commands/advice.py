"""Client errors in terms of commands: they name flags, and the commands that show more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlmgmt_nb.commands.flags import flags_of
from mlmgmt_nb.commands.grammar import Flag
from mlmgmt_nb.errors import (
    MlmgmtError,
    OperationFailed,
    OperationTimeout,
    ScoringError,
    ScoringTestFailed,
    UsageError,
)

__all__ = ["advice"]

_ARGUMENT = re.compile(r"`(\w+)='([^'`]*)'`")
"""A client argument with its value in the text of a fix."""


_LIST = re.compile(r"`ws\.(\w+)s\.list\(\)`")
_GET_SERVICE = re.compile(r"`ws\.services\.get\('([^'`]*)'\)`")
_UNARCHIVE = re.compile(r"`ws\.(\w+)s\.unarchive\('([^'`]*)'\)`")
_RECORD = re.compile(r"`ws\.services\.update\('([^'`]*)', recording=True\)`")
_MIRROR = re.compile(r"`change\.mirror\(minutes=(\d+)\)`")
_SHARES = re.compile(r"`\[(\d+(?:, \d+)*)\]`")
_TRACEBACK = re.compile(r"`ws\.services\.logs\(\.\.\.\)` has the traceback, under request ([^\s.]+)\.")


@contextmanager
def advice(prog: str, flags: Sequence[Flag], arguments: object) -> Iterator[None]:
    """Make errors raised in the block name flags and commands instead of Python.

    Args:
        prog: the program as the user calls it: `mlmgmt` or `%mlmgmt`.
        flags: flags of the running command.
        arguments: arguments of the running command.
    """
    try:
        yield
    except MlmgmtError as error:
        error.fix = error.fix and _with_commands(_with_flags(error.fix, flags), prog)
        error.fix = error.fix and _with_candidate(error.fix, prog, _service_in(arguments) or "NAME")
        if isinstance(error, OperationFailed):
            error.fix = _log(error, prog, arguments) or error.fix
        elif isinstance(error, OperationTimeout):
            error.fix = f"It continues; `{prog} operation watch {error.continuation_token}` waits for it."
        elif isinstance(error, ScoringError):
            error.fix = error.fix and _with_service(error.fix, prog, getattr(arguments, "service", None) or "NAME")
        elif isinstance(error, ScoringTestFailed):
            error.fix = _report(arguments)
        elif isinstance(error, UsageError):
            _name_flag(error, flags, arguments)
        raise


def _with_flags(fix: str, flags: Sequence[Flag]) -> str:
    """Replace client arguments with flags: `--if-exists update` instead of `if_exists='update'`."""
    known = flags_of(flags)

    def written(argument: re.Match[str]) -> str:
        given = known.get(argument[1])
        return f"`{given[0].names.split()[-1]} {argument[2]}`" if given else argument[0]

    return _ARGUMENT.sub(written, fix)


def _with_commands(fix: str, prog: str) -> str:
    """Replace methods of the workspace that name their resource with commands."""
    fix = _GET_SERVICE.sub(rf"`{prog} service show -n \1`", _LIST.sub(rf"`{prog} \1 list`", fix))
    fix = _RECORD.sub(rf"`{prog} service update -n \1 --record-requests true`", fix)
    return _UNARCHIVE.sub(rf"`{prog} \1 unarchive -n \2`", fix)


def _with_candidate(fix: str, prog: str, name: str) -> str:
    """Replace the method that starts a mirror with a command, and percentages of a canary with its flag."""
    fix = _MIRROR.sub(rf"`{prog} service mirror -n {name} --minutes \1`", fix)
    return _SHARES.sub(lambda shares: f"`--share {shares[1].replace(' ', '')}`", fix)


def _with_service(fix: str, prog: str, name: str) -> str:
    """Replace the methods for the log, the keys and the replicas of a service with commands."""
    logs, keys = f"{prog} service logs -n {name}", f"{prog} service keys -n {name} --show"
    fix = _TRACEBACK.sub(rf"`{logs} --request-id \1` has the traceback.", fix)
    fix = fix.replace("ws.services.update(..., num_replicas=1)", f"{prog} service update -n {name} -z 1")
    return fix.replace("ws.services.logs(...)", logs).replace("ws.services.keys(...)", keys)


def _log(error: OperationFailed, prog: str, arguments: object) -> str | None:
    """Return the fix that names the command for the log of a failed build or service; None without a log."""
    if not error.log_uri or error.operation is None:
        return None
    resource = (error.operation.resource_location or "").rpartition("/")[2]
    kind = (error.operation.operation_type or "").lower()
    if kind == "image" and resource:
        return f"`{prog} image log -i {resource}` shows the log."
    name = _service_in(arguments) or resource
    return f"`{prog} service logs -n {name}` shows the log." if kind == "service" and name else None


def _report(arguments: object) -> str:
    """Return the fix that names the file with the results of a test, or the flag that writes one."""
    junit = getattr(arguments, "junit", None)
    return f"{junit} has the result." if junit else "`--junit FILE` writes the result."


def _service_in(arguments: object) -> Any:
    """Return the id or name of the service that the arguments name, or None."""
    return getattr(arguments, "service_name", None) or getattr(arguments, "service", None)


def _name_flag(error: UsageError, flags: Sequence[Flag], arguments: object) -> None:
    """Replace the name of a client argument with the flag that set it."""
    for flag in flags_of(flags).get(error.field or "", ()):
        if _is_given(getattr(arguments, flag.dest)) and error.message.startswith(f"{error.field}:"):
            error.message = f"--{flag.dest.replace('_', '-')}:{error.message.removeprefix(f'{error.field}:')}"
            error.field = flag.dest
            return


def _is_given(value: object) -> bool:
    """Return whether a flag has a value. DataFrames, which have no truth value, count as values."""
    return value is not None and (not isinstance(value, (str, bool, int, tuple, list, dict)) or bool(value))
