"""Flags that several commands share, with the client argument that each one sets, and the types of their arguments.

The relation between flags and client arguments is defined in `Flag.api`. The calls of the commands, the flags named in
errors, and the code in the deploy panel are derived from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client import ServiceSettings
from mlmgmt_nb.client.deploying.packaged_models import TOLERANCE
from mlmgmt_nb.commands.grammar import Flag
from mlmgmt_nb.contract import recording
from mlmgmt_nb.contract.limits import Defaults

__all__ = [
    "APPLICATION",
    "COMMON",
    "COMPUTE",
    "IF_EXISTS",
    "MODEL_ID",
    "NEW_VERSION",
    "OUTPUTS",
    "PACKAGING",
    "REASON",
    "SERVICE",
    "SERVICE_NAME",
    "SETTINGS",
    "VARIABLES",
    "WAITING",
    "WAITING_AFTER_BUILD",
    "ApplicationArguments",
    "CommonArguments",
    "DeployArguments",
    "PackagingArguments",
    "ReasonArguments",
    "ServiceArguments",
    "SettingsArguments",
    "VariablesArguments",
    "WaitingArguments",
    "api_arguments",
    "flags_of",
    "service_settings",
]

OUTPUTS = ("table", "wide", "json", "tsv", "csv")

COMMON = (
    Flag("-o --output", "form of the output", choices=OUTPUTS),
    Flag("--query", "JMESPath query to apply to the result", metavar="JMESPATH"),
    Flag("--profile", "profile to use", completes="profile"),
    Flag("--home", "state folder of the embedded service", completes="path", api="home"),
    Flag("--base-url", "URL of the account", api="base_url"),
    Flag("-v --verbose", "show the requests that the command sends", "switch"),
    Flag("--debug", "show the request and the traceback of an error", "switch"),
    Flag("-h --help", "show this help", "switch"),
)
"""Flags that every command has."""

_TIMEOUT = Flag("--timeout", "maximum seconds to wait (default: no limit)", "integer", metavar="SECONDS")

WAITING = (Flag("--no-wait", "return without waiting for the operation", "switch"), _TIMEOUT)
"""Flags of commands that start an operation."""

WAITING_AFTER_BUILD = (
    Flag("--no-wait", "return without waiting for the service; an image built from --driver is waited for", "switch"),
    _TIMEOUT,
)
"""Flags of commands that may have to build an image before they start an operation."""

DEPENDENCY = Flag(
    "-d --dependency", "file or folder beside the driver (repeatable)", "many", completes="path", api="dependencies"
)

APPLICATION = (
    Flag("-f --driver", "driver file, such as score.py", completes="path", metavar="FILE", api="driver"),
    Flag("-r --runtime", "runtime of the driver", choices=("python", "spark-py"), default="python", api="runtime"),
    Flag("-i --model-id", "id or name of a registered model (repeatable)", "many", completes="model", api="model"),
    Flag(
        "-m --model-file",
        "model file of the driver (repeatable). Without a driver: one file, or in a notebook an object",
        "many",
        completes="path",
        metavar="PATH",
        api="model path_or_url",
    ),
    Flag("-s --schema-file", "schema file of the driver", completes="path", metavar="FILE", api="schema"),
    Flag("-c --conda-file", "conda environment file", completes="path", metavar="FILE", api="conda"),
    Flag(
        "-p --requirements",
        "pip requirements file, or a list of its lines",
        "value",
        completes="path",
        metavar="FILE",
        api="requirements",
    ),
    Flag(
        "--any-python",
        "ignore the Python version in the conda file and use the available Python",
        "switch",
        api="any_python",
    ),
    DEPENDENCY,
)
"""Flags for the content of a manifest."""

PACKAGING = (
    Flag(
        "--sample",
        "rows that a model without a driver takes: a Python value, or a CSV, JSON or Parquet file",
        "value",
        completes="path",
        metavar="DATA",
        api="sample",
    ),
    Flag("--method", "method of the model that answers (default: predict, or the function itself)", api="method"),
    Flag("--example", "show rows of the sample as the example of the service", "yes-no", default=True, api="example"),
    Flag(
        "--tolerance",
        "largest relative difference between package and object",
        "number",
        default=TOLERANCE,
        api="tolerance",
    ),
)
"""Flags for packaging a model without a driver."""

SERVICE = Flag("-i -n --id --name --service", "id or name of the service", required=True, completes="service")


def _new(default: object) -> str:
    """Return the words for a default of new services; an update leaves a setting that is not given unchanged."""
    return f"new services: {default}"


_MAX_AGE, _MAX_SIZE = f"{recording.MAX_AGE_SECONDS // 86400}d", f"{recording.MAX_BYTES // 10**6}MB"

SETTINGS = (
    Flag("-z --replicas", f"number of replicas ({_new(Defaults.replicas)})", "integer", api="num_replicas"),
    Flag(
        "--autoscale-enabled", "adjust the number of replicas to the load", "yes-no", api="autoscaler.autoscale_enabled"
    ),
    Flag(
        "--autoscale-min-replicas",
        f"minimum number of replicas ({_new(Defaults.min_replicas)})",
        "integer",
        metavar="N",
        api="autoscaler.min_replicas",
    ),
    Flag(
        "--autoscale-max-replicas",
        f"maximum number of replicas ({_new(Defaults.max_replicas)})",
        "integer",
        metavar="N",
        api="autoscaler.max_replicas",
    ),
    Flag(
        "--autoscale-target-utilization",
        f"target utilization, in percent ({_new(Defaults.target_utilization)})",
        "integer",
        metavar="PERCENT",
        api="autoscaler.target_utilization",
    ),
    Flag(
        "--autoscale-refresh-period-seconds",
        f"seconds between scaling decisions ({_new(Defaults.refresh_period_in_seconds)})",
        "integer",
        metavar="SECONDS",
        api="autoscaler.refresh_period_in_seconds",
    ),
    Flag("--cpu", "CPUs reserved for each replica, such as 500m", api="cpu"),
    Flag("--memory", "memory reserved for each replica, such as 300Mi", api="memory"),
    Flag(
        "--replica-max-concurrent-requests",
        f"maximum concurrent requests per replica ({_new(Defaults.max_concurrent_requests)})",
        "integer",
        metavar="N",
        api="max_concurrent_requests",
    ),
    Flag("--collect-model-data", "collect inputs and outputs of the models", "yes-no", api="collect_model_data"),
    Flag(
        "--record-requests",
        "record requests and answers, for `service requests` and replays",
        "yes-no",
        api="recording.enabled",
    ),
    Flag(
        "--record-sample",
        f"share of the requests to record, such as 0.1 ({_new(1)})",
        "number",
        api="recording.sample",
    ),
    Flag(
        "--record-redact",
        "fields whose values are not recorded, separated by commas",
        "value",
        metavar="NAMES",
        api="recording.redact",
    ),
    Flag(
        "--record-max-age",
        f"age after which recorded requests are removed, such as 12h ({_new(_MAX_AGE)})",
        api="recording.max_age",
    ),
    Flag(
        "--record-max-size",
        f"size of all recorded requests, such as 1GB ({_new(_MAX_SIZE)})",
        api="recording.max_size",
    ),
    Flag("-l --enable-app-insights", "send telemetry to Application Insights", "yes-no", api="app_insights"),
)

REASON = Flag("--reason", "reason of the change, for its record", metavar="TEXT", api="reason")

VARIABLES = (
    Flag(
        "--env",
        "environment variable of the driver, NAME=VALUE (repeatable)",
        "many",
        metavar="NAME=VALUE",
        api="environment",
    ),
    Flag(
        "--env-file",
        "file with a NAME=VALUE per line (repeatable)",
        "many",
        completes="path",
        metavar="FILE",
        api="environment",
    ),
    Flag(
        "--secret",
        "secret variable from your environment or a file (repeatable)",
        "many",
        metavar="NAME[=env:VARIABLE|=file:PATH]",
        api="secrets",
    ),
    Flag(
        "--remove-env", "variable or secret to remove (repeatable)", "many", metavar="NAME", api="environment secrets"
    ),
)
"""Flags for the environment variables and secrets of a service."""

SERVICE_NAME = Flag("-n --name --service-name", "name of the service", required=True, api="name")
COMPUTE = Flag("--compute-resource-id", "compute to run the service on", api="compute_resource_id compute")
MODEL_ID = Flag("--model-id", "id or name of a registered model (repeatable)", "many", completes="model", api="model")
NEW_VERSION = Flag(
    "--new-version",
    "create new versions even if the latest have the same content",
    "switch",
    api="new_version",
)
IF_EXISTS = Flag(
    "--if-exists",
    "action if a service with that name exists",
    choices=("update", "reuse", "fail"),
    default="update",
    api="if_exists",
)


@dataclass(frozen=True, kw_only=True)
class CommonArguments:
    """Arguments of every command."""

    output: str | None = None
    query: str | None = None
    profile: str | None = None
    home: str | None = None
    base_url: str | None = None
    verbose: bool = False
    debug: bool = False
    help: bool = False


@dataclass(frozen=True, kw_only=True)
class WaitingArguments(CommonArguments):
    """Arguments of commands that start an operation."""

    no_wait: bool = False
    timeout: int | None = None


@dataclass(frozen=True, kw_only=True)
class ApplicationArguments:
    """The models and files of a manifest."""

    driver: str | None
    runtime: str = "python"
    model_id: Sequence[str]
    model_file: Sequence[Any]
    schema_file: str | None
    conda_file: str | None
    requirements: str | Sequence[str] | None
    any_python: bool
    dependency: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PackagingArguments:
    """The options for packaging a model without a driver."""

    sample: Any
    method: str | None
    example: bool
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class DeployArguments(ApplicationArguments, PackagingArguments):
    """The source of a deployment: models and files, or a model to package."""

    new_version: bool = False


@dataclass(frozen=True, kw_only=True)
class VariablesArguments:
    """Environment variables and secrets of a service: text, or mappings of names to values."""

    env: Sequence[str | Mapping[str, str]]
    env_file: Sequence[str]
    secret: Sequence[str | Mapping[str, str]]
    remove_env: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class SettingsArguments(VariablesArguments):
    """Settings of a service."""

    replicas: int | None
    autoscale_enabled: bool | None
    autoscale_min_replicas: int | None
    autoscale_max_replicas: int | None
    autoscale_target_utilization: int | None
    autoscale_refresh_period_seconds: int | None
    cpu: str | None
    memory: str | None
    replica_max_concurrent_requests: int | None
    collect_model_data: bool | None
    record_requests: bool | None
    record_sample: float | None
    record_redact: Any
    record_max_age: str | None
    record_max_size: str | None
    enable_app_insights: bool | None


@dataclass(frozen=True, kw_only=True)
class ReasonArguments(CommonArguments):
    """The reason of a change."""

    reason: str | None


@dataclass(frozen=True, kw_only=True)
class ServiceArguments(CommonArguments):
    """The service that a command applies to."""

    service: str


def api_arguments(flags: Iterable[Flag], arguments: object) -> dict[str, Any]:
    """Return the client arguments that the flags set, by name. `autoscaler.NAME` becomes a key of a mapping."""
    found: dict[str, Any] = {}
    for flag in flags:
        name, value = flag.api.partition(" ")[0], getattr(arguments, flag.dest)
        group, _, key = name.partition(".")
        if not key:
            found[name] = value
        elif value is not None:
            found.setdefault(group, {})[key] = value
    return found


def service_settings(arguments: SettingsArguments) -> ServiceSettings:
    """Return the settings of a service, except for its variables."""
    settings: ServiceSettings = {"autoscaler": None, **api_arguments(SETTINGS, arguments)}  # type: ignore[typeddict-item]
    return settings


def flags_of(flags: Iterable[Flag]) -> Mapping[str, Sequence[Flag]]:
    """Return the flags by the client argument that they set. Keys of mappings are listed by the name of the key."""
    found: dict[str, list[Flag]] = {}
    for flag in flags:
        for name in flag.api.split():
            found.setdefault(name.rpartition(".")[2], []).append(flag)
    return found
