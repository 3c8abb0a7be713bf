"""Commands: deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _List(CommonArguments):
    """Arguments of `deployment list`."""

    service: str | None


@dataclass(frozen=True, kw_only=True)
class _Show(CommonArguments):
    """Arguments of `deployment show`."""

    deployment_id: str


def _deployments(session: Session, arguments: _List) -> object:
    return session.workspace.deployments.list(service=arguments.service)


def _deployment(session: Session, arguments: _Show) -> object:
    return session.workspace.deployments.get(arguments.deployment_id)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("deployment", "list"),
        "List the deployments of a service, newest first",
        "mlmgmt deployment list -n iris",
        _deployments,
        (Flag("-i -n --id --name --service", "id or name of the service", completes="service"),),
        ("deployments_list",),
        arguments=_List,
    ),
    Command(
        ("deployment", "show"),
        "Show a deployment",
        "mlmgmt deployment show -i ID",
        _deployment,
        (Flag("-i --deployment-id", "id of the deployment", required=True, completes="deployment"),),
        ("deployments_get",),
        arguments=_Show,
    ),
)
