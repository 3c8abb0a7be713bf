"""Commands that read the collected data of a service, and compare it with a training sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import ServiceArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
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


_SERVICE = Flag("-i -n --id --name --service", "id or name of the service", required=True, completes="service")
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
        (_SERVICE, *_COLLECTED),
        arguments=_Data,
    ),
    Command(
        ("service", "drift"),
        "Show how far the inputs that a service collected are from a training sample, with an index by column",
        "mlmgmt service drift -n iris --sample train.csv",
        _drift,
        (
            _SERVICE,
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
)
