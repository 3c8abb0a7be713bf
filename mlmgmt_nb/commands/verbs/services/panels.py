"""Commands that open panels of services in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.commands.flags import (
    APPLICATION,
    PACKAGING,
    SERVICE,
    ApplicationArguments,
    CommonArguments,
    ServiceArguments,
    api_arguments,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import (
    DeployForm,
    ServiceConsole,
    ServiceTryout,
)
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Form(ApplicationArguments, CommonArguments):
    """Arguments of `service form`."""

    service_name: str | None
    sample: Any
    method: str | None


_SAMPLE = tuple(flag for flag in PACKAGING if flag.api in {"sample", "method"})
"""The packaging flags that the form supports."""


def _check_in_notebook(session: Session, instead: str) -> None:
    if not session.prog.startswith("%"):
        raise UsageError("panels are for notebooks", field="panel", fix=f"`{session.prog} {instead}` is for the shell.")


def _form(session: Session, arguments: _Form) -> DeployForm:
    _check_in_notebook(session, "service create -h")
    fields = {
        **api_arguments(APPLICATION, arguments),
        "name": arguments.service_name,
        "compute_resource_id": session.setting("compute"),
        "sample": arguments.sample,
        "method": arguments.method,
    }
    for unused in ("model", "any_python"):  # models are passed separately; the form has no field for `any_python`
        fields.pop(unused)
    models = [*arguments.model_file, *arguments.model_id]
    given = {name: value for name, value in fields.items() if not (value is None or isinstance(value, tuple))}
    return DeployForm(session.workspace, models, given)


def _panel(session: Session, arguments: ServiceArguments) -> ServiceConsole:
    _check_in_notebook(session, f"service show -n {arguments.service}")
    return ServiceConsole(session.workspace, session.workspace.services.get(arguments.service))


def _try(session: Session, arguments: ServiceArguments) -> object:
    _check_in_notebook(session, f"service run -n {arguments.service}")
    return ServiceTryout(session.workspace, session.workspace.services.get(arguments.service))


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "panel"),
        "Open the panel of a service: traffic, log, scale, deployments, keys",
        "%mlmgmt service panel -n iris",
        _panel,
        (SERVICE,),
        arguments=ServiceArguments,
    ),
    Command(
        ("service", "form"),
        "Open a form that deploys models as a service and shows the equivalent code",
        "%mlmgmt service form -n iris -m model.pkl -f score.py",
        _form,
        (Flag("-n --name --service-name", "name of the service"), *APPLICATION, *_SAMPLE),
        arguments=_Form,
    ),
    Command(
        ("service", "try"),
        "Try a service in a notebook: enter inputs in a form and see the answers",
        "mlmgmt service try -n iris",
        _try,
        (SERVICE,),
        arguments=ServiceArguments,
    ),
)
