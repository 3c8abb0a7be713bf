"""Commands that compare the deployments of services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import (
    APPLICATION,
    MODEL_ID,
    NEW_VERSION,
    PACKAGING,
    SERVICE,
    SETTINGS,
    VARIABLES,
    CommonArguments,
    DeployArguments,
    SettingsArguments,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.deploy import flow, source_of
from mlmgmt_nb.commands.verbs.services.changing import settings_of
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Diff(DeployArguments, SettingsArguments, CommonArguments):
    """Arguments of `service diff`."""

    service: str
    against: str | None


def _diff(session: Session, arguments: _Diff) -> object:
    services = session.workspace.services
    if arguments.driver is None and not arguments.model_file:
        return services.diff(arguments.service, arguments.against)
    if arguments.against is not None:
        raise UsageError(
            "--against cannot be combined with a driver or model", field="against", fix="Give one of them."
        )
    name = services.get(arguments.service).name or ""
    return flow(session, name, compute="local").diff(source_of(session, arguments), settings_of(arguments))


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "diff"),
        "Show what the last change of a service changed, how it differs from another service, deployment or image, or "
        "what an update with a new driver or model would change",
        "mlmgmt service diff -n iris -m model.pkl -f score.py",
        _diff,
        (
            SERVICE,
            Flag("--against", "id of an image, deployment or service, or name of a service", completes="service"),
            *(flag for flag in APPLICATION if flag.dest != "model_id"),  # `-i` is the service in this command
            *PACKAGING,
            NEW_VERSION,
            MODEL_ID,
            *SETTINGS,
            *VARIABLES,
        ),
        arguments=_Diff,
    ),
)
