"""Commands: operations, and the last error of the session."""

from __future__ import annotations

import traceback
from typing import Any

from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.redaction import redacted

__all__ = ["COMMANDS"]


def _operation(session: Session, arguments: Any) -> Any:
    return session.workspace.operations.get(arguments.operation_id)


def _operations(session: Session, _: Any) -> Any:
    return session.workspace.operations.list()


def _watch(session: Session, arguments: Any) -> Any:
    session.workspace.operations.get(arguments.operation_id)  # an unknown id fails at once
    return session.workspace.operations.poller(arguments.operation_id)


def _cancel(session: Session, arguments: Any) -> Any:
    return session.workspace.operations.cancel(arguments.operation_id)


def _last_error(session: Session, _: Any) -> Any:
    error = session.last_error
    if error is None:
        return Text("no command has failed in this session")
    request = [f"{name}: {value}" for name in ("method", "url", "request_id") if (value := getattr(error, name, None))]
    return Text(redacted("\n".join([*request, "".join(traceback.format_exception(error)).rstrip()])))


COMMANDS = (
    Command(
        ("last-error",),
        "Show the last error of this session with its request, request id and traceback",
        "%mlmgmt last-error",
        _last_error,
    ),
    Command(
        ("operation", "list"),
        "List the operations of the account, newest first",
        "mlmgmt operation list",
        _operations,
        (),
        ("operations_get",),
    ),
    Command(
        ("operation", "show"),
        "Show the state of an operation",
        "mlmgmt operation show -i ID",
        _operation,
        (Flag("-i --operation-id", "id of the operation", required=True, completes="operation"),),
        ("operations_get",),
    ),
    Command(
        ("operation", "cancel"),
        "Cancel a running operation: the image is not built, or the service keeps its previous deployment",
        "mlmgmt operation cancel ID",
        _cancel,
        (Flag("operation_id", "id of the operation", required=True, completes="operation"),),
        ("operations_get",),
    ),
    Command(
        ("operation", "watch"),
        "Wait for a running operation and show its result",
        "mlmgmt operation watch ID",
        _watch,
        (Flag("operation_id", "id of the operation", required=True, completes="operation"),),
        ("operations_get",),
        waits=True,
    ),
)
