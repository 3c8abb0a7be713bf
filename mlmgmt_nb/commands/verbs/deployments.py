"""Commands: deployments."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session

__all__ = ["COMMANDS"]


def _deployments(session: Session, arguments: Any) -> Any:
    return session.workspace.deployments.list(service=arguments.service)


def _deployment(session: Session, arguments: Any) -> Any:
    return session.workspace.deployments.get(arguments.deployment_id)


COMMANDS = (
    Command(
        ("deployment", "list"),
        "List the deployments of a service, newest first",
        "mlmgmt deployment list -n iris",
        _deployments,
        (Flag("-i -n --id --name --service", "id or name of the service", completes="service"),),
        ("deployments_list",),
    ),
    Command(
        ("deployment", "show"),
        "Show a deployment",
        "mlmgmt deployment show -i ID",
        _deployment,
        (Flag("-i --deployment-id", "id of the deployment", required=True, completes="deployment"),),
        ("deployments_get",),
    ),
)
