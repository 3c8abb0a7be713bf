"""Commands that create, update and delete services."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from mlmgmt_nb.client import ServiceSettings
from mlmgmt_nb.client.deploying.flow import BuiltImage, DeployFlow, IfExists
from mlmgmt_nb.client.kernel_versions import warn_of_versions
from mlmgmt_nb.client.missing import similar_name
from mlmgmt_nb.commands.flags import (
    APPLICATION,
    COMPUTE,
    IF_EXISTS,
    MODEL_ID,
    NEW_VERSION,
    PACKAGING,
    REASON,
    SERVICE,
    SERVICE_NAME,
    SETTINGS,
    VARIABLES,
    DeployArguments,
    ReasonArguments,
    ServiceArguments,
    SettingsArguments,
    WaitingArguments,
    service_settings,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import (
    Text,
)
from mlmgmt_nb.commands.variables import variables
from mlmgmt_nb.commands.verbs.deploy import check_no_new_version, compute_of, flow, resumable, source_of
from mlmgmt_nb.commands.verbs.services.trials import TRIAL, Trial, trial_of
from mlmgmt_nb.errors import OperationFailed, UsageError

__all__ = ["COMMANDS", "registers", "settings_of"]


@dataclass(frozen=True, kw_only=True)
class _Create(DeployArguments, SettingsArguments, WaitingArguments, ReasonArguments):
    """Arguments of `service create`."""

    service_name: str
    image_id: str | None
    compute_resource_id: str | None
    if_exists: IfExists


@dataclass(frozen=True, kw_only=True)
class _Update(DeployArguments, SettingsArguments, WaitingArguments, ReasonArguments):
    """Arguments of `service update`."""

    service: str
    image_id: str | None
    compute_resource_id: str | None
    gate: Any
    cases: Any
    last: int
    concurrency: int
    gate_tolerance: float
    junit: str | None


@dataclass(frozen=True, kw_only=True)
class _Rollback(ServiceArguments, WaitingArguments, ReasonArguments):
    """Arguments of `service rollback`."""


class ImageArguments(Protocol):
    """An image, or the driver and models of one."""

    @property
    def image_id(self) -> str | None: ...
    @property
    def driver(self) -> Any: ...
    @property
    def model_file(self) -> Any: ...
    @property
    def new_version(self) -> Any: ...


def settings_of(arguments: SettingsArguments) -> ServiceSettings:
    return {**service_settings(arguments), **variables(arguments)}


def _changes(arguments: _Create | _Update) -> ServiceSettings:
    """Return the settings, with the reason for the change."""
    return {**settings_of(arguments), "reason": arguments.reason}


def registers(arguments: ImageArguments) -> bool:
    """Return whether a driver or model is given, so that versions are registered.

    Raises:
        UsageError: `--new-version` is given, but nothing is registered.
    """
    if arguments.image_id is not None:
        check_no_new_version(arguments.new_version, "--image-id names an image that is built")
        return False
    is_given = arguments.driver is not None or bool(arguments.model_file)
    if not is_given:
        check_no_new_version(arguments.new_version, "neither a driver nor a model is given")
    return is_given


def _create(session: Session, arguments: _Create) -> object:
    registers(arguments)
    settings = _changes(arguments)
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
    is_built_here, trial = registers(arguments), trial_of(arguments)
    has_new_image = is_built_here or arguments.image_id is not None
    with nullcontext() if trial is None else trial.errors_reported(arguments.service):
        return _updated(session, arguments, trial, has_new_image)


def _updated(session: Session, arguments: _Update, trial: Trial | None, has_new_image: bool) -> object:
    """Start the update, once its trial has passed if there is one."""
    services, settings = session.workspace.services, _changes(arguments)
    service = services.get(arguments.service)
    name = service.name or ""
    services.check(name, **settings)
    services.check_server(compute_resource_id=arguments.compute_resource_id or "local", **settings)
    if trial is None and not has_new_image:
        return services.update(service, **settings)
    with resumable(session) as started:
        deploying = flow(
            session,
            name,
            compute=compute_of(session, arguments.compute_resource_id),
            timeout=arguments.timeout,
            started=started,
        )
        if trial is not None:
            deploying.check_change(settings)
            trial.check_cases(session, service)
        built = _built(session, deploying, arguments) if has_new_image else BuiltImage(None)
        if arguments.image_id is not None:  # it may be an older image
            warn_of_versions(session.workspace.images.get(arguments.image_id).manifest)
        if trial is None:
            return deploying.start(built, settings, service)
        proposed = deploying.propose(built, settings, service)
        try:
            change = proposed.result(deploying.seconds_left)
        except OperationFailed:  # a candidate that does not start
            services.discard(name)
            raise
        return trial.decide(session, change)


def _built(session: Session, deploying: DeployFlow, arguments: _Create | _Update) -> BuiltImage:
    """Return the named image, or an image that is built from the driver and models."""
    if arguments.image_id is None:
        return deploying.build(source_of(session, arguments))
    if arguments.driver is not None:
        raise UsageError("--image-id and --driver cannot be combined", field="image_id", fix="Give one of them.")
    return BuiltImage(str(arguments.image_id))


def _rollback(session: Session, arguments: _Rollback) -> object:
    return session.workspace.services.rollback(arguments.service, reason=arguments.reason)


def _delete(session: Session, arguments: ServiceArguments) -> object:
    services = session.workspace.services
    if services.delete(arguments.service):
        return Text(f"service {arguments.service} is deleted")
    similar = similar_name(arguments.service, services.list())
    hint = f". Did you mean `{similar}`?" if similar else ""
    return Text(f"service {arguments.service} does not exist{hint}")


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
            REASON,
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
            *(flag for flag in APPLICATION if flag.dest != "model_id"),  # `-i` is the service in this command
            *PACKAGING,
            NEW_VERSION,
            MODEL_ID,
            *SETTINGS,
            *VARIABLES,
            REASON,
            Flag("--compute-resource-id", "compute to build the image for", api="compute_resource_id"),
            *TRIAL,
        ),
        ("services_update",),
        waits=True,
        arguments=_Update,
    ),
    Command(
        ("service", "rollback"),
        "Return a service to the deployment that served before, with its image and settings",
        'mlmgmt service rollback -n iris --reason "too slow"',
        _rollback,
        (SERVICE, REASON),
        waits=True,
        arguments=_Rollback,
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
)
