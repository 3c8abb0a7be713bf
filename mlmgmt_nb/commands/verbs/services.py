"""Commands: services."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlmgmt_nb.client import ServiceSettings, Workspace
from mlmgmt_nb.client.deploying.flow import BuiltImage, DeployFlow, IfExists
from mlmgmt_nb.client.kernel_versions import warn_of_versions
from mlmgmt_nb.commands.flags import (
    APPLICATION,
    COMPUTE,
    IF_EXISTS,
    MODEL_ID,
    NEW_VERSION,
    PACKAGING,
    SERVICE,
    SERVICE_NAME,
    SETTINGS,
    VARIABLES,
    ApplicationArguments,
    CommonArguments,
    DeployArguments,
    ServiceArguments,
    SettingsArguments,
    WaitingArguments,
    api_arguments,
    service_settings,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import (
    DeployForm,
    Keys,
    LogStream,
    RequestLogFilter,
    ServiceConsole,
    ServiceTryout,
    Text,
    Usage,
    chosen_lines,
)
from mlmgmt_nb.commands.variables import variables
from mlmgmt_nb.commands.verbs.deploy import check_no_new_version, compute_of, flow, resumable, source_of
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS", "sample"]


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
class _Create(DeployArguments, SettingsArguments, WaitingArguments):
    """Arguments of `service create`."""

    service_name: str
    image_id: str | None
    compute_resource_id: str | None
    if_exists: IfExists


@dataclass(frozen=True, kw_only=True)
class _Update(DeployArguments, SettingsArguments, WaitingArguments):
    """Arguments of `service update`."""

    service: str
    image_id: str | None
    compute_resource_id: str | None


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
class _Form(ApplicationArguments, CommonArguments):
    """Arguments of `service form`."""

    service_name: str | None
    sample: Any
    method: str | None


@dataclass(frozen=True, kw_only=True)
class _Keys(ServiceArguments):
    """Arguments of `service keys`."""

    regen: bool
    key: str
    show: bool


@dataclass(frozen=True, kw_only=True)
class _Run(ServiceArguments):
    """Arguments of `service run`."""

    data: Any
    timeout: int | None


@dataclass(frozen=True, kw_only=True)
class _Logs(ServiceArguments):
    """Arguments of `service logs`."""

    follow: bool
    tail: int | None
    request_id: str | None


def _settings(arguments: SettingsArguments) -> ServiceSettings:
    return {**service_settings(arguments), **variables(arguments)}


def _registers(arguments: _Create | _Update) -> bool:
    """Return whether a driver or model is given, from which versions are registered.

    Raises:
        UsageError: there is none, but `--new-version`.
    """
    if arguments.image_id is not None:
        check_no_new_version(arguments.new_version, "--image-id names an image that is built")
        return False
    is_given = arguments.driver is not None or bool(arguments.model_file)
    if not is_given:
        check_no_new_version(arguments.new_version, "neither a driver nor a model is given")
    return is_given


def _create(session: Session, arguments: _Create) -> object:
    _registers(arguments)
    settings = _settings(arguments)
    with resumable(session) as started:
        deploying = flow(
            session,
            arguments.service_name,
            compute=compute_of(session, arguments.compute_resource_id),
            timeout=arguments.timeout,
            started=started,
        )
        existing = deploying.existing(settings, arguments.if_exists)
        if existing is not None and arguments.if_exists == "reuse":
            return existing
        return deploying.start(_built(session, deploying, arguments), settings, existing)


def _update(session: Session, arguments: _Update) -> object:
    registers = _registers(arguments)
    services, settings = session.workspace.services, _settings(arguments)
    service = services.get(arguments.service)
    services.check(service.name or "", **settings)
    services.check_server(compute_resource_id=arguments.compute_resource_id or "local", **settings)
    if arguments.image_id is None and not registers:
        return services.update(service, **settings)
    with resumable(session) as started:
        deploying = flow(
            session,
            service.name or "",
            compute=compute_of(session, arguments.compute_resource_id),
            timeout=arguments.timeout,
            started=started,
        )
        built = _built(session, deploying, arguments)
        if arguments.image_id is not None:  # perhaps an earlier one
            warn_of_versions(session.workspace.images.get(arguments.image_id).manifest)
        return deploying.start(built, settings, service)


def _built(session: Session, deploying: DeployFlow, arguments: _Create | _Update) -> BuiltImage:
    """Return the image that is named, or one that is built from the driver and models."""
    if arguments.image_id is None:
        return deploying.build(source_of(session, arguments))
    if arguments.driver is not None:
        raise UsageError("--image-id and --driver cannot be combined", field="image_id", fix="Give one of them.")
    return BuiltImage(str(arguments.image_id))


def _show(session: Session, arguments: ServiceArguments) -> object:
    service = session.workspace.services.get(arguments.service)
    warn_of_versions(service.manifest)
    return service


_SAMPLE = tuple(flag for flag in PACKAGING if flag.api in {"sample", "method"})
"""The flags of packaging that the form has."""


def _in_notebook(session: Session, instead: str) -> None:
    if not session.prog.startswith("%"):
        raise UsageError("panels are for notebooks", field="panel", fix=f"`{session.prog} {instead}` is for the shell.")


def _form(session: Session, arguments: _Form) -> DeployForm:
    _in_notebook(session, "service create -h")
    fields = {
        **api_arguments(APPLICATION, arguments),
        "name": arguments.service_name,
        "compute_resource_id": session.setting("compute"),
        "sample": arguments.sample,
        "method": arguments.method,
    }
    for unused in ("model", "any_python"):  # models are passed by themselves; the form has no such box
        fields.pop(unused)
    models = [*arguments.model_file, *arguments.model_id]
    given = {name: value for name, value in fields.items() if not (value is None or isinstance(value, tuple))}
    return DeployForm(session.workspace, models, given)


def _panel(session: Session, arguments: ServiceArguments) -> ServiceConsole:
    _in_notebook(session, f"service show -n {arguments.service}")
    return ServiceConsole(session.workspace, session.workspace.services.get(arguments.service))


def _list(session: Session, arguments: _List) -> object:
    return session.workspace.services.list(**api_arguments(_FILTERS, arguments))


def _delete(session: Session, arguments: ServiceArguments) -> object:
    deleted = session.workspace.services.delete(arguments.service)
    return Text(f"service {arguments.service} is deleted" if deleted else f"there was no service {arguments.service}")


def _keys(session: Session, arguments: _Keys) -> object:
    services = session.workspace.services
    if arguments.regen:
        which = "Secondary" if arguments.key.lower() == "secondary" else "Primary"
        keys = services.regenerate_key(arguments.service, which)  # type: ignore[arg-type]
    else:
        keys = services.keys(arguments.service)
    return Keys(keys.primary_key or "", keys.secondary_key or "", shown=bool(arguments.show))


def _run(session: Session, arguments: _Run) -> object:
    services = session.workspace.services
    data = _data(arguments.data)
    if data is None:
        data = sample(session.workspace, arguments.service)
        if data is None:
            raise UsageError(f"service {arguments.service!r} has no sample", field="data", fix="Give data with -d.")
    return services.run(arguments.service, data, timeout=float(arguments.timeout or 60))


def _try(session: Session, arguments: ServiceArguments) -> object:
    _in_notebook(session, f"service run -n {arguments.service}")
    return ServiceTryout(session.workspace, session.workspace.services.get(arguments.service))


def _data(given: Any) -> Any:
    """Return the data of `-d`: a Python value, JSON text, or `@` and the file that has it."""
    if isinstance(given, str) and given.startswith("@"):
        path = Path(given[1:]).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(f"--data: {path} cannot be read: {error.strerror}", field="data") from error
    return given


def sample(workspace: Workspace, service: str) -> Any:
    """Return the body that a service gives as its example; None when its driver has no schema to make one from."""
    given = workspace.services.swagger(service).get("definitions", {}).get("ServiceInput", {})
    return given.get("example") if "properties" in given else None


def _usage(session: Session, arguments: ServiceArguments) -> object:
    service: ServiceResponse = session.workspace.services.get(arguments.service)
    if not service.scoring_uri:
        raise UsageError(f"service {service.name!r} has no scoring URL: it is {service.state}", field="service")
    swagger_uri = service.scoring_uri.rpartition("/")[0] + "/swagger.json"
    return Usage(service.name or "", service.scoring_uri, swagger_uri, sample(session.workspace, arguments.service))


def _logs(session: Session, arguments: _Logs) -> object:
    services = session.workspace.services
    line = RequestLogFilter(arguments.request_id) if arguments.request_id else None
    service_id = services.id_of(arguments.service)
    part = services.logs(service_id, tail=arguments.tail)
    if arguments.follow:
        return LogStream(lambda offset: services.logs(service_id, offset=offset), part, line)
    return Text(chosen_lines(part.text, line))


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "create"),
        "Run an image as a web service; with a model or driver, register the models and build the image first",
        "mlmgmt service create -n iris -m model.pkl -f score.py -r python",
        _create,
        (
            SERVICE_NAME,
            Flag("--image-id", "image to run", completes="image"),
            *APPLICATION,
            *PACKAGING,
            NEW_VERSION,
            *SETTINGS,
            *VARIABLES,
            COMPUTE,
            IF_EXISTS,
        ),
        ("services_create",),
        waits=True,
        arguments=_Create,
    ),
    Command(
        ("service", "update"),
        "Change a service; its URL, its keys and all settings that you do not give stay the same",
        "mlmgmt service update -n iris -z 3",
        _update,
        (
            SERVICE,
            Flag("--image-id", "image to run", completes="image"),
            *(flag for flag in APPLICATION if flag.dest != "model_id"),  # its `-i` is the service here
            *PACKAGING,
            NEW_VERSION,
            MODEL_ID,
            *SETTINGS,
            *VARIABLES,
            Flag("--compute-resource-id", "compute to build the image for", api="compute_resource_id"),
        ),
        ("services_update",),
        waits=True,
        arguments=_Update,
    ),
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
        ("service", "delete"),
        "Delete a service",
        "mlmgmt service delete -n iris",
        _delete,
        (SERVICE,),
        ("services_delete",),
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
        ("service", "run"),
        "Score data with a service (default: its sample)",
        """mlmgmt service run -n iris -d '{"input_df": [{"petal": 1.4}]}'""",
        _run,
        (
            SERVICE,
            Flag("-d --data", "JSON, @FILE, or a Python value in the notebook", "value", completes="path"),
            Flag("--timeout", "seconds to wait for the answer", "integer", metavar="SECONDS"),
        ),
        arguments=_Run,
    ),
    Command(
        ("service", "try"),
        "Try a service in a notebook: enter inputs in a form and see the answers",
        "mlmgmt service try -n iris",
        _try,
        (SERVICE,),
        arguments=ServiceArguments,
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
