"""Commands: services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlmgmt_nb.client import ServiceSettings, Workspace
from mlmgmt_nb.client.packages import warn_of_versions
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import (
    DeployForm,
    Keys,
    LinesAbout,
    LogStream,
    ServiceConsole,
    ServiceTrial,
    Text,
    Usage,
    chosen_lines,
)
from mlmgmt_nb.commands.verbs.images import build
from mlmgmt_nb.commands.verbs.manifests import APPLICATION, step
from mlmgmt_nb.commands.verbs.packages import PACKAGING
from mlmgmt_nb.commands.verbs.variables import VARIABLES, variables
from mlmgmt_nb.contract import Image, ServiceResponse
from mlmgmt_nb.errors import ConflictError, UsageError

__all__ = ["COMMANDS", "sample"]

_SERVICE = Flag("-i -n --id --name --service", "id or name of the service", required=True, completes="service")

_SETTINGS = (
    Flag("-z --replicas", "number of replicas", "integer"),
    Flag("--autoscale-enabled", "adjust the number of replicas to the load", "yes-no"),
    Flag("--autoscale-min-replicas", "minimum number of replicas", "integer", metavar="N"),
    Flag("--autoscale-max-replicas", "maximum number of replicas", "integer", metavar="N"),
    Flag("--autoscale-target-utilization", "target utilization, in percent", "integer", metavar="PERCENT"),
    Flag("--autoscale-refresh-period-seconds", "seconds between scaling decisions", "integer", metavar="SECONDS"),
    Flag("--cpu", "CPUs reserved for each replica, such as 500m"),
    Flag("--memory", "memory reserved for each replica, such as 300Mi"),
    Flag("--replica-max-concurrent-requests", "maximum concurrent requests per replica", "integer", metavar="N"),
    Flag("--collect-model-data", "collect inputs and outputs of the models", "yes-no"),
    Flag("-l --enable-app-insights", "send telemetry to Application Insights", "yes-no"),
    *VARIABLES,
)


def _settings(arguments: Any) -> ServiceSettings:
    given = variables(arguments)
    autoscaler = {
        "autoscale_enabled": arguments.autoscale_enabled,
        "min_replicas": arguments.autoscale_min_replicas,
        "max_replicas": arguments.autoscale_max_replicas,
        "target_utilization": arguments.autoscale_target_utilization,
        "refresh_period_in_seconds": arguments.autoscale_refresh_period_seconds,
    }
    return {
        "num_replicas": arguments.replicas,
        "autoscaler": autoscaler if any(value is not None for value in autoscaler.values()) else None,
        "cpu": arguments.cpu,
        "memory": arguments.memory,
        "max_concurrent_requests": arguments.replica_max_concurrent_requests,
        "collect_model_data": arguments.collect_model_data,
        "app_insights": arguments.enable_app_insights,
        "environment": given["environment"],
        "secrets": given["secrets"],
    }


def _image(session: Session, arguments: Any, name: str) -> Image | str:
    """Return the image that is named, or one that is built from the driver and models."""
    if arguments.image_id is not None:
        if arguments.driver is not None:
            raise UsageError("--image-id and --driver exclude each other", field="image_id", fix="Give one of them.")
        return str(arguments.image_id)
    building = build(session, arguments, name, None, None)
    try:
        return step(session, "image", lambda: building.result(arguments.timeout))
    except KeyboardInterrupt as stop:
        stop.add_note(f"The build goes on; `{session.prog} operation watch {building.operation_id}` waits for it.")
        raise


def _create(session: Session, arguments: Any) -> Any:
    name = arguments.service_name
    compute = arguments.compute_resource_id or session.setting("compute") or "local"
    settings = _settings(arguments)
    session.workspace.services.check(name, compute_resource_id=compute, **settings)
    session.workspace.services.check_server(compute_resource_id=compute, **settings)
    existing = session.workspace.services.find(name)
    if existing is not None and arguments.if_exists == "reuse":
        return existing
    if existing is not None and arguments.if_exists == "fail":
        raise ConflictError(
            f"service {name!r} already exists",
            status_code=409,
            code="Conflict",
            fix="Give another name, or `--if-exists update`.",
        )
    image = _image(session, arguments, name)
    services = session.workspace.services
    if existing is not None:
        return services.update(existing, image=image, **settings)
    return services.create(name, image, compute_resource_id=compute, **settings)


def _update(session: Session, arguments: Any) -> Any:
    service = session.workspace.services.get(arguments.service)
    settings = _settings(arguments)
    session.workspace.services.check(service.name or "", **settings)
    session.workspace.services.check_server(compute_resource_id=arguments.compute_resource_id or "local", **settings)
    has_image = any(given is not None for given in (arguments.image_id, arguments.driver, arguments.model_file))
    image = _image(session, arguments, service.name or "") if has_image else None
    if arguments.image_id is not None:  # perhaps a former one
        warn_of_versions(session.workspace.images.get(arguments.image_id).manifest)
    return session.workspace.services.update(service, image=image, **settings)


def _show(session: Session, arguments: Any) -> Any:
    service = session.workspace.services.get(arguments.service)
    warn_of_versions(service.manifest)
    return service


def _in_notebook(session: Session, instead: str) -> None:
    if not session.prog.startswith("%"):
        raise UsageError("panels are for notebooks", field="panel", fix=f"`{session.prog} {instead}` is for the shell.")


def _form(session: Session, arguments: Any) -> DeployForm:
    _in_notebook(session, "service create -h")
    fields = {
        "name": arguments.service_name,
        "driver": arguments.driver,
        "schema": arguments.schema_file,
        "requirements": arguments.requirements,
        "conda": arguments.conda_file,
        "dependencies": arguments.dependency,
        "runtime": arguments.runtime,
        "compute_resource_id": session.setting("compute"),
    }
    models = [*(arguments.model_file or ()), *(arguments.model_id or ())]
    return DeployForm(session.workspace, models, {name: value for name, value in fields.items() if value is not None})


def _panel(session: Session, arguments: Any) -> ServiceConsole:
    _in_notebook(session, f"service show -n {arguments.service}")
    return ServiceConsole(session.workspace, session.workspace.services.get(arguments.service))


def _list(session: Session, arguments: Any) -> Any:
    return session.workspace.services.list(
        service_name=arguments.service_name,
        model_id=arguments.model_id,
        model_name=arguments.model_name,
        manifest_id=arguments.manifest_id,
        manifest_name=arguments.manifest_name,
        image_id=arguments.image_id,
        compute_resource_id=arguments.compute_resource_id,
    )


def _delete(session: Session, arguments: Any) -> Any:
    deleted = session.workspace.services.delete(arguments.service)
    return Text(f"service {arguments.service} is deleted" if deleted else f"there was no service {arguments.service}")


def _keys(session: Session, arguments: Any) -> Any:
    services = session.workspace.services
    if arguments.regen:
        which = "Secondary" if arguments.key.lower() == "secondary" else "Primary"
        keys = services.regenerate_key(arguments.service, which)  # type: ignore[arg-type]
    else:
        keys = services.keys(arguments.service)
    return Keys(keys.primary_key or "", keys.secondary_key or "", shown=bool(arguments.show))


def _run(session: Session, arguments: Any) -> Any:
    services = session.workspace.services
    data = _data(arguments.data)
    if data is None:
        data = sample(session.workspace, arguments.service)
        if data is None:
            raise UsageError(f"service {arguments.service!r} has no sample", field="data", fix="Give data with -d.")
    return services.run(arguments.service, data, timeout=float(arguments.timeout or 60))


def _try(session: Session, arguments: Any) -> Any:
    _in_notebook(session, f"service run -n {arguments.service}")
    return ServiceTrial(session.workspace, session.workspace.services.get(arguments.service))


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


def _usage(session: Session, arguments: Any) -> Any:
    service: ServiceResponse = session.workspace.services.get(arguments.service)
    if not service.scoring_uri:
        raise UsageError(f"service {service.name!r} has no scoring URL: it is {service.state}", field="service")
    swagger_uri = service.scoring_uri.rpartition("/")[0] + "/swagger.json"
    return Usage(service.name or "", service.scoring_uri, swagger_uri, sample(session.workspace, arguments.service))


def _logs(session: Session, arguments: Any) -> Any:
    services = session.workspace.services
    line = LinesAbout(arguments.request_id) if arguments.request_id else None
    service_id = services.id_of(arguments.service)
    part = services.logs(service_id, tail=arguments.tail)
    if arguments.follow:
        return LogStream(lambda offset: services.logs(service_id, offset=offset), part, line)
    return Text(chosen_lines(part.text, line))


COMMANDS = (
    Command(
        ("service", "create"),
        "Run an image as a web service; with a model or driver, register the models and build the image first",
        "mlmgmt service create -n iris -m model.pkl -f score.py -r python",
        _create,
        (
            Flag("-n --name --service-name", "name of the service", required=True),
            Flag("--image-id", "image to run", completes="image"),
            *APPLICATION,
            *PACKAGING,
            *_SETTINGS,
            Flag("--compute-resource-id", "compute to run the service on"),
            Flag(
                "--if-exists",
                "action if a service with that name exists",
                choices=("update", "reuse", "fail"),
                default="update",
            ),
        ),
        ("services_create",),
        waits=True,
    ),
    Command(
        ("service", "update"),
        "Change a service; its URL, its keys and all settings that you do not give stay the same",
        "mlmgmt service update -n iris -z 3",
        _update,
        (
            _SERVICE,
            Flag("--image-id", "image to run", completes="image"),
            *(flag for flag in APPLICATION if flag.dest != "model_id"),  # its `-i` is the service here
            *PACKAGING,
            Flag("--model-id", "id or name of a registered model (repeatable)", "many", completes="model"),
            *_SETTINGS,
            Flag("--compute-resource-id", "compute to build the image for"),
        ),
        ("services_update",),
        waits=True,
    ),
    Command(
        ("service", "list"),
        "List services, newest first",
        "mlmgmt service list --model-name iris",
        _list,
        (
            Flag("-n --service-name", "only the service with this name", completes="service"),
            Flag("--model-id", "only services with this model", completes="model-id"),
            Flag("--model-name", "only services with a model of this name", completes="model"),
            Flag("--manifest-id", "only services of this manifest", completes="manifest-id"),
            Flag("--manifest-name", "only services of manifests with this name", completes="manifest"),
            Flag("--image-id", "only services of this image", completes="image"),
            Flag("--compute-resource-id", "only services on this compute"),
        ),
        ("services_list",),
    ),
    Command(
        ("service", "show"), "Show a service", "mlmgmt service show -n iris", _show, (_SERVICE,), ("services_get",)
    ),
    Command(
        ("service", "panel"),
        "Open the panel of a service: traffic, log, scale, deployments, keys",
        "%mlmgmt service panel -n iris",
        _panel,
        (_SERVICE,),
    ),
    Command(
        ("service", "form"),
        "Open a form that deploys models as a service and shows the equivalent code",
        "%mlmgmt service form -n iris -m model.pkl -f score.py",
        _form,
        (Flag("-n --name --service-name", "name of the service"), *APPLICATION),
    ),
    Command(
        ("service", "delete"),
        "Delete a service",
        "mlmgmt service delete -n iris",
        _delete,
        (_SERVICE,),
        ("services_delete",),
    ),
    Command(
        ("service", "keys"),
        "Show the masked keys of a service, or regenerate one",
        "mlmgmt service keys -n iris --regen --key secondary",
        _keys,
        (
            _SERVICE,
            Flag("--regen", "regenerate a key", "switch"),
            Flag("-k --key", "key to regenerate", choices=("primary", "secondary"), default="primary"),
            Flag("--show", "print the keys unmasked", "switch"),
        ),
        ("services_get_keys", "services_regenerate_keys", "services_regenerate_keys_alias"),
    ),
    Command(
        ("service", "run"),
        "Score data with a service (default: its sample)",
        """mlmgmt service run -n iris -d '{"input_df": [{"petal": 1.4}]}'""",
        _run,
        (
            _SERVICE,
            Flag("-d --data", "JSON, @FILE, or a Python value in the notebook", "value", completes="path"),
            Flag("--timeout", "seconds to wait for the answer", "integer", metavar="SECONDS"),
        ),
    ),
    Command(
        ("service", "try"),
        "Try a service in a notebook: enter inputs in a form and see the answers",
        "mlmgmt service try -n iris",
        _try,
        (_SERVICE,),
    ),
    Command(
        ("service", "usage"),
        "Show how to call a service from other programs",
        "mlmgmt service usage -n iris",
        _usage,
        (_SERVICE,),
    ),
    Command(
        ("service", "logs"),
        "Show the log of a service",
        "mlmgmt service logs -n iris --tail 20",
        _logs,
        (
            _SERVICE,
            Flag("--follow", "print new lines until Ctrl-C", "switch"),
            Flag("--tail", "number of lines at the end (default: all)", "integer", metavar="LINES"),
            Flag("--request-id", "only lines about this request"),
        ),
    ),
)
