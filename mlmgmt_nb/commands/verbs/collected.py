"""The command that reads the collected data of a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import ServiceArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Data(ServiceArguments):
    """Arguments of `service data`."""

    model_name: str | None
    identifier: str | None


def _data(session: Session, arguments: _Data) -> object:
    services = session.workspace.services
    return services.data(arguments.service, model=arguments.model_name, identifier=arguments.identifier)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "data"),
        "Show the data that a service collected (requires --collect-model-data true)",
        "mlmgmt service data -n iris --identifier inputs",
        _data,
        (
            Flag("-i -n --id --name --service", "id or name of the service", required=True, completes="service"),
            Flag("--model-name", "only data of the model with this name", completes="model"),
            Flag("--identifier", "only data with this collector identifier"),
        ),
        arguments=_Data,
    ),
)
