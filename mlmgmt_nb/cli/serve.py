"""`mlmgmt serve`: run the service until it is stopped, such as with Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlmgmt_nb import local
from mlmgmt_nb.cli.access import add_access, read_access
from mlmgmt_nb.cli.arguments import (
    add_command,
    add_home,
    add_limits,
    database_of,
    days,
    hours,
    limits_of,
    seconds,
    time_limit,
)
from mlmgmt_nb.errors import MlmgmtError, UsageError

__all__ = ["add_serve"]

_LAST_PORT = 65535
_REGISTRY = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?(/[a-z0-9._/-]+)?")


def add_serve(commands: Any) -> None:
    """Add the command and its flags."""
    serve = add_command(commands, "serve", "run the Model Management service in the foreground until Ctrl-C")
    add_home(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, help="port of the API (default: the last port used, or any free port)")
    serve.add_argument("--account", default="default", help="account in the base URL (default: %(default)s)")
    serve.add_argument(
        "--public-url",
        type=_origin,
        metavar="URL",
        help="public origin of the service, if clients reach it under another one; also used in scoring URLs",
    )
    serve.add_argument(
        "--allowed-host",
        action="append",
        metavar="HOST",
        help="additional name, address or network allowed in Host and Origin, also on the ports of "
        "services; * for any; repeatable (default: MLMGMT_ALLOWED_HOSTS, separated by commas)",
    )
    serve.add_argument(
        "--keep-operations",
        type=days,
        default=30.0,
        metavar="DAYS",
        help="days to keep operations after they end (default: 30)",
    )
    serve.add_argument(
        "--candidate-hours",
        type=hours,
        default=os.environ.get("MLMGMT_CANDIDATE_HOURS") or "24",
        metavar="HOURS",
        help="hours after which a candidate of a service is removed unless it was promoted (default: 24); "
        "also MLMGMT_CANDIDATE_HOURS",
    )
    serve.add_argument(
        "--database",
        metavar="URL",
        help="PostgreSQL database, postgresql+psycopg://USER@HOST/NAME, which several processes can share; "
        "password in PGPASSWORD or ~/.pgpass (default: MLMGMT_DATABASE; initially SQLite in the state folder)",
    )
    serve.add_argument(
        "--new",
        action="store_true",
        help="start with an empty database in a state folder that lost its database; existing files stay",
    )
    serve.add_argument(
        "--url-scheme",
        action="append",
        metavar="SCHEME",
        help="only read models from URLs with this scheme; repeatable",
    )
    serve.add_argument(
        "--url-host", action="append", metavar="HOST", help="only read models from this host; repeatable"
    )
    add_access(serve)
    _add_docker(serve)
    add_limits(serve, {"members": "100000", "bytes": "50 GiB", "ratio": "200"})
    serve.add_argument(
        "--start-timeout",
        type=time_limit,
        default=300.0,
        metavar="SECONDS",
        help="time limit for init() (default: %(default)s)",
    )
    serve.add_argument(
        "--calm-seconds",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="time with low load before an autoscaler removes a replica (default: %(default)s)",
    )
    serve.add_argument(
        "--hang-timeout",
        type=time_limit,
        default=60.0,
        metavar="SECONDS",
        help="time without any response after which a replica is replaced (default: %(default)s)",
    )
    serve.add_argument(
        "--warm-start-seconds",
        type=seconds,
        default=os.environ.get("MLMGMT_WARM_START_SECONDS") or "600",
        metavar="SECONDS",
        help="time that a prepared process waits for the next deployment on this machine, 0 for none "
        "(default: 600); also MLMGMT_WARM_START_SECONDS",
    )
    serve.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    serve.add_argument("--report", type=int, help=argparse.SUPPRESS)  # file descriptor for the reason of a failed start
    serve.set_defaults(run=_serve)


def _add_docker(serve: argparse.ArgumentParser) -> None:
    """Add the flags for Docker images. Each has an environment variable for services that `connect` starts."""
    docker = serve.add_argument_group("Docker images")
    for flag, what in (
        ("base-image", "base image, or the path of an OCI archive (default: a slim image with this Python version)"),
        ("base-image-spark", "base image for the runtime spark-py (default: as --base-image; Java is added)"),
        ("registry", "registry host, optionally with a path, that images are pushed to and pulled from"),
        ("pip-config", "pip.conf used to install packages in images; not stored in any layer"),
    ):
        variable = f"MLMGMT_{flag.replace('-', '_').upper()}"
        check = _registry if flag == "registry" else str
        docker.add_argument(
            f"--{flag}", type=check, default=os.environ.get(variable) or None, help=f"{what}; also {variable}"
        )
    docker.add_argument(
        "--clusters",
        metavar="FILE",
        default=os.environ.get("MLMGMT_CLUSTERS"),
        help="settings of Kubernetes clusters (default: clusters.toml in the state folder); also MLMGMT_CLUSTERS",
    )
    docker.add_argument(
        "--image-builder",
        metavar="auto|engine|daemonless",
        default=os.environ.get("MLMGMT_IMAGE_BUILDER") or "auto",
        help="build images on a Docker engine (engine), without one (daemonless), or on one if it responds (auto) "
        "(default: %(default)s); also MLMGMT_IMAGE_BUILDER",
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port. Use 0 to {_LAST_PORT}")
    return int(text)


def _registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a registry. Use the form HOST[:PORT][/PATH], without https://"
        )
    return text


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} is not an origin. Use the form https://ml.example.org")
    return text.rstrip("/")


def _allowed_hosts(arguments: argparse.Namespace) -> tuple[str, ...]:
    from mlmgmt_nb.scoring.http.access.hosts import HostCheck

    given = arguments.allowed_host or os.environ.get("MLMGMT_ALLOWED_HOSTS", "").split(",")
    hosts = tuple(host.strip() for host in given if host.strip())
    try:
        HostCheck(hosts)
    except ValueError as error:
        raise UsageError(f"--allowed-host: {error}.") from None
    return hosts


def _recording_storage(given: str | None) -> str | None:
    """Check the storage for recorded requests from its environment variable, and return it unchanged."""
    is_account = given is not None and ("AccountName=" in given or "BlobEndpoint=" in given)
    if given is None or is_account or ("://" in given and not given.startswith(("file:", "local:", "memory:"))):
        return given
    raise UsageError(
        "MLMGMT_RECORDING_STORAGE is neither the URL of a storage nor the connection string of an Azure account",
        field="recording_storage",
        fix="Give a URL such as s3://bucket/requests, or leave it out: requests are recorded in the state folder.",
    )


def _image_builder(given: str, known: Sequence[str]) -> str:
    """Check the image builder from the flag or the environment variable, and return it unchanged."""
    if given not in known:
        fix = f"Use one of {', '.join(known)} (--image-builder, or MLMGMT_IMAGE_BUILDER)."
        raise UsageError(f"--image-builder: {given!r} is not known", field="image_builder", fix=fix)
    return given


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.report is not None:
        os.set_inheritable(arguments.report, False)
    try:
        _run(arguments)
    except MlmgmtError as error:
        if arguments.report is not None:
            os.write(arguments.report, json.dumps({"message": error.message, "fix": error.fix}).encode())
        raise
    return 0


def _run(arguments: argparse.Namespace) -> None:
    # Imported here: the other commands do not need the service.
    from mlmgmt_nb.archives.extraction import Limits
    from mlmgmt_nb.service.settings import IMAGE_BUILDERS, Settings
    from mlmgmt_nb.service.start import serve
    from mlmgmt_nb.service.system.service_log import log_to

    home = local.state_folder(arguments.home)
    log_to(home / "logs" / "service.log" if arguments.detached else None)
    settings = Settings(
        home=home,
        database=database_of(arguments, home),
        unpack_limits=limits_of(arguments, Limits()),
        is_new=arguments.new,
        operation_days=arguments.keep_operations,
        candidate_hours=arguments.candidate_hours,
        host=arguments.host,
        port=arguments.port,
        account=arguments.account,
        public_url=arguments.public_url,
        allowed_hosts=_allowed_hosts(arguments),
        **read_access(arguments),
        start_timeout=arguments.start_timeout,
        hang_timeout=arguments.hang_timeout,
        calm_seconds=arguments.calm_seconds,
        warm_start_seconds=arguments.warm_start_seconds,
        hands_over=os.environ.get("MLMGMT_HANDOVER") != "0",
        # Not flags, because these may contain secrets, and other users can see the arguments of a process.
        data_storage=os.environ.get("MLMGMT_DATA_STORAGE") or None,
        recording_storage=_recording_storage(os.environ.get("MLMGMT_RECORDING_STORAGE") or None),
        base_image=arguments.base_image,
        base_image_spark=arguments.base_image_spark,
        registry=arguments.registry,
        clusters=None if arguments.clusters is None else Path(arguments.clusters).absolute(),
        image_builder=_image_builder(arguments.image_builder, IMAGE_BUILDERS),
        pip_config=None if arguments.pip_config is None else Path(arguments.pip_config).absolute(),
        url_schemes=None if arguments.url_scheme is None else frozenset(arguments.url_scheme),
        url_hosts=None if arguments.url_host is None else frozenset(host.lower() for host in arguments.url_host),
    )
    serve(
        settings,
        on_ready=lambda url: None if arguments.detached else print(f"{url}\nPress Ctrl-C to stop.", flush=True),
    )
