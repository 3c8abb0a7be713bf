"""Commands: operations, and the last error of the session."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client.monitoring.failures import driver_traceback
from mlmgmt_nb.commands.flags import CommonArguments, WaitingArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import RequestLogFilter, Text, chosen_lines
from mlmgmt_nb.errors import DriverError, MlmgmtError, OperationFailed, UsageError
from mlmgmt_nb.redaction import redacted

__all__ = ["COMMANDS"]

_SEARCHED_LINES = 20_000


@dataclass(frozen=True, kw_only=True)
class _Show(CommonArguments):
    """Arguments of `operation show`."""

    operation_id: str


@dataclass(frozen=True, kw_only=True)
class _Cancel(CommonArguments):
    """Arguments of `operation cancel`."""

    operation_id: str


@dataclass(frozen=True, kw_only=True)
class _Watch(WaitingArguments):
    """Arguments of `operation watch`."""

    operation_id: str


def _operation(session: Session, arguments: _Show) -> object:
    return session.workspace.operations.get(arguments.operation_id)


def _operations(session: Session, _: CommonArguments) -> object:
    return session.workspace.operations.list()


def _watch(session: Session, arguments: _Watch) -> object:
    session.workspace.operations.get(arguments.operation_id)  # an unknown id fails at once
    return session.workspace.operations.poller(arguments.operation_id)


def _cancel(session: Session, arguments: _Cancel) -> object:
    return session.workspace.operations.cancel(arguments.operation_id)


def _last_error(session: Session, _: CommonArguments) -> object:
    error = session.last_error
    if error is None and not session.stays:
        raise UsageError(
            "last-error works in notebooks only: in a shell, each command is a session of its own",
            fix=f"`{session.prog} service logs -n NAME` shows the log of a service, `{session.prog} image log -i ID` "
            "that of a build, and `--debug` the traceback of a command.",
        )
    if error is None:
        return Text("no command has failed in this session")
    request = [f"{name}: {value}" for name in ("method", "url", "request_id") if (value := getattr(error, name, None))]
    found = _driver_traceback(session, error) or "".join(traceback.format_exception(error)).rstrip()
    return Text(redacted("\n".join([*request, str(error), "", found])))


def _driver_traceback(session: Session, error: BaseException) -> str:
    """Return the driver traceback of an error; "" if there is none or the log cannot be read."""
    if isinstance(error, OperationFailed):
        return error.driver_traceback
    if not isinstance(error, DriverError) or not error.service:
        return ""
    try:
        log = session.workspace.services.logs(error.service, tail=_SEARCHED_LINES).text
    except MlmgmtError:  # the service may be deleted, or the server may not respond
        return ""
    return "\n".join(driver_traceback(chosen_lines(log, RequestLogFilter(error.request_id)).splitlines()))


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("last-error",),
        "Show the last error of a notebook with its request and traceback: that of the driver, if the driver failed",
        "%mlmgmt last-error",
        _last_error,
        arguments=CommonArguments,
    ),
    Command(
        ("operation", "list"),
        "List the operations of the account, newest first",
        "mlmgmt operation list",
        _operations,
        (),
        ("operations_get",),
        arguments=CommonArguments,
    ),
    Command(
        ("operation", "show"),
        "Show the state of an operation",
        "mlmgmt operation show -i ID",
        _operation,
        (Flag("-i --operation-id", "id of the operation", required=True, completes="operation"),),
        ("operations_get",),
        arguments=_Show,
    ),
    Command(
        ("operation", "cancel"),
        "Cancel a running operation: the image is not built, or the service keeps its previous deployment",
        "mlmgmt operation cancel ID",
        _cancel,
        (Flag("operation_id", "id of the operation", required=True, completes="operation"),),
        ("operations_get",),
        arguments=_Cancel,
    ),
    Command(
        ("operation", "watch"),
        "Wait for a running operation and show its result",
        "mlmgmt operation watch ID",
        _watch,
        (Flag("operation_id", "id of the operation", required=True, completes="operation"),),
        ("operations_get",),
        waits=True,
        arguments=_Watch,
    ),
)
