"""Commands that read collected data and recorded requests of a service, and compare data with a training sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import SERVICE, ServiceArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.commands.verbs.deploy import read_sample

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Data(ServiceArguments):
    """Arguments of `service data`."""

    model_name: str | None
    identifier: str | None


@dataclass(frozen=True, kw_only=True)
class _Drift(_Data):
    """Arguments of `service drift`."""

    sample: Any


@dataclass(frozen=True, kw_only=True)
class _Requests(ServiceArguments):
    """Arguments of `service requests`."""

    last: int
    delete: bool


def _requests(session: Session, arguments: _Requests) -> object:
    services = session.workspace.services
    if arguments.delete:
        services.delete_requests(arguments.service)
        return Text(f"the recorded requests of service {arguments.service} are deleted")
    found = services.requests(arguments.service, last=arguments.last)
    if dropped := found.attrs["dropped"]:
        session.tell(f"{dropped:,} more requests were not recorded: there were too many, or they were too large")
    return found


def _data(session: Session, arguments: _Data) -> object:
    services = session.workspace.services
    return services.data(arguments.service, model=arguments.model_name, identifier=arguments.identifier)


def _drift(session: Session, arguments: _Drift) -> object:
    return session.workspace.services.drift(
        arguments.service,
        read_sample(arguments.sample),
        model=arguments.model_name,
        identifier=arguments.identifier,
    )


_COLLECTED = (
    Flag("--model-name", "only data of the model with this name", completes="model"),
    Flag("--identifier", "only data with this collector identifier"),
)

COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "data"),
        "Show the data that a service collected (requires --collect-model-data true)",
        "mlmgmt service data -n iris --identifier inputs",
        _data,
        (SERVICE, *_COLLECTED),
        arguments=_Data,
    ),
    Command(
        ("service", "drift"),
        "Show how far the inputs that a service collected are from a training sample, with an index by column",
        "mlmgmt service drift -n iris --sample train.csv",
        _drift,
        (
            SERVICE,
            Flag(
                "--sample",
                "rows that the model was trained with: a Python value, or a CSV, JSON or Parquet file",
                "value",
                required=True,
                completes="path",
                metavar="DATA",
            ),
            *_COLLECTED,
        ),
        arguments=_Drift,
    ),
    Command(
        ("service", "requests"),
        "Show the recorded requests of a service and their answers (requires --record-requests true)",
        "mlmgmt service requests -n iris --last 20",
        _requests,
        (
            SERVICE,
            Flag("--last", "maximum number of requests", "integer", default=100, metavar="N"),
            Flag("--delete", "delete all recorded requests instead; recording continues", "switch"),
        ),
        arguments=_Requests,
    ),
)
