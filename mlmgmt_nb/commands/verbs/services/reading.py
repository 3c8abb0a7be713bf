"""Commands that read services: their list, details, keys, usage and log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client.kernel_versions import warn_of_versions
from mlmgmt_nb.client.services.scoring import missing_url
from mlmgmt_nb.commands.flags import (
    SERVICE,
    CommonArguments,
    ServiceArguments,
    api_arguments,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.usage import Usage, first_record
from mlmgmt_nb.commands.values import (
    Keys,
    LogStream,
    RequestLogFilter,
    ServiceLog,
    chosen_lines,
)
from mlmgmt_nb.commands.verbs.services.scoring import sample
from mlmgmt_nb.contract import ServiceResponse

__all__ = ["COMMANDS"]

_FILTERS = (
    Flag("-n --service-name", "only the service with this name", completes="service", api="service_name"),
    Flag("--model-id", "only services with this model", completes="model-id", api="model_id"),
    Flag("--model-name", "only services with a model of this name", completes="model", api="model_name"),
    Flag("--manifest-id", "only services of this manifest", completes="manifest-id", api="manifest_id"),
    Flag("--manifest-name", "only services of manifests with this name", completes="manifest", api="manifest_name"),
    Flag("--image-id", "only services of this image", completes="image", api="image_id"),
    Flag("--compute-resource-id", "only services on this compute", api="compute_resource_id"),
)


@dataclass(frozen=True, kw_only=True)
class _List(CommonArguments):
    """Arguments of `service list`."""

    service_name: str | None
    model_id: str | None
    model_name: str | None
    manifest_id: str | None
    manifest_name: str | None
    image_id: str | None
    compute_resource_id: str | None


@dataclass(frozen=True, kw_only=True)
class _Keys(ServiceArguments):
    """Arguments of `service keys`."""

    regen: bool
    key: str
    show: bool


@dataclass(frozen=True, kw_only=True)
class _Logs(ServiceArguments):
    """Arguments of `service logs`."""

    follow: bool
    tail: int | None
    request_id: str | None


def _show(session: Session, arguments: ServiceArguments) -> object:
    service = session.workspace.services.get(arguments.service)
    warn_of_versions(service.manifest)
    return service


def _list(session: Session, arguments: _List) -> object:
    return session.workspace.services.list(**api_arguments(_FILTERS, arguments))


def _keys(session: Session, arguments: _Keys) -> object:
    services = session.workspace.services
    if arguments.regen:
        which = "Secondary" if arguments.key.lower() == "secondary" else "Primary"
        keys = services.regenerate_key(arguments.service, which)  # type: ignore[arg-type]
    else:
        keys = services.keys(arguments.service)
    return Keys(keys.primary_key or "", keys.secondary_key or "", shown=bool(arguments.show))


def _usage(session: Session, arguments: ServiceArguments) -> object:
    service: ServiceResponse = session.workspace.services.get(arguments.service)
    if not service.scoring_uri:
        raise missing_url(service.name, service.state)
    swagger_uri = service.scoring_uri.rpartition("/")[0] + "/swagger.json"
    body = first_record(sample(session.workspace, arguments.service))
    return Usage(service.name or "", service.scoring_uri, swagger_uri, body)


def _logs(session: Session, arguments: _Logs) -> object:
    services = session.workspace.services
    line = RequestLogFilter(arguments.request_id) if arguments.request_id else None
    service_id = services.id_of(arguments.service)
    part = services.logs(service_id, tail=arguments.tail)
    if arguments.follow:
        return LogStream(lambda offset: services.logs(service_id, offset=offset), part, line)
    return ServiceLog(chosen_lines(part.text, line))


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "list"),
        "List services, newest first",
        "mlmgmt service list --model-name iris",
        _list,
        _FILTERS,
        ("services_list",),
        arguments=_List,
    ),
    Command(
        ("service", "show"),
        "Show a service",
        "mlmgmt service show -n iris",
        _show,
        (SERVICE,),
        ("services_get",),
        arguments=ServiceArguments,
    ),
    Command(
        ("service", "keys"),
        "Show the masked keys of a service, or regenerate one",
        "mlmgmt service keys -n iris --regen --key secondary",
        _keys,
        (
            SERVICE,
            Flag("--regen", "regenerate a key", "switch"),
            Flag("-k --key", "key to regenerate", choices=("primary", "secondary"), default="primary"),
            Flag("--show", "print the keys unmasked", "switch"),
        ),
        ("services_get_keys", "services_regenerate_keys", "services_regenerate_keys_alias"),
        arguments=_Keys,
    ),
    Command(
        ("service", "usage"),
        "Show how to call a service from other programs",
        "mlmgmt service usage -n iris",
        _usage,
        (SERVICE,),
        arguments=ServiceArguments,
    ),
    Command(
        ("service", "logs"),
        "Show the log of a service",
        "mlmgmt service logs -n iris --tail 20",
        _logs,
        (
            SERVICE,
            Flag("--follow", "print new lines until Ctrl-C", "switch"),
            Flag("--tail", "number of lines at the end (default: all)", "integer", metavar="LINES"),
            Flag("--request-id", "only lines about this request"),
        ),
        arguments=_Logs,
    ),
)
