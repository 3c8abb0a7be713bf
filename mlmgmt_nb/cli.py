"""The shell command `mlmgmt`: the service's own commands, and those of `mlmgmt_nb.commands`."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlmgmt_nb import __version__, local
from mlmgmt_nb.errors import MlmgmtError, UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.service.home import Home
    from mlmgmt_nb.service.store import Store

__all__ = ["main", "service_parser"]


_OWN = frozenset({"serve", "status", "stop", "demo", "gc", "backup", "restore", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; gives the exit code: 0, 1 (the error is on standard error), or 2 for a wrong line."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help"}:
        service_parser().print_help()
        print()
    if not words or words[0] not in _OWN:
        # Loaded here: `mlmgmt serve` has no use for it.
        from mlmgmt_nb.commands import main as run_command

        return run_command(words)
    arguments = service_parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except MlmgmtError as error:
        print(f"mlmgmt: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def service_parser() -> argparse.ArgumentParser:
    """The commands of the service itself and their flags."""
    parser = argparse.ArgumentParser(prog="mlmgmt", description="The service on this machine:", add_help=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the Model Management service here, until Ctrl-C")
    _add_home(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, help="port of the API (default: the last one, or any free one)")
    serve.add_argument("--account", default="default", help="account that the base URL names (default: %(default)s)")
    serve.add_argument(
        "--public-url",
        type=_origin,
        metavar="URL",
        help="origin under which clients reach the service, if not this one; scoring URLs lead there too",
    )
    serve.add_argument(
        "--keep-operations",
        type=_days,
        default=30.0,
        metavar="DAYS",
        help="how long operations are kept after their end (default: 30)",
    )
    serve.add_argument(
        "--database",
        metavar="URL",
        help="PostgreSQL database, postgresql+psycopg://USER@HOST/NAME, which several processes may share; "
        "its password is in PGPASSWORD or ~/.pgpass (default: MLMGMT_DATABASE, or that of the folder: SQLite at first)",
    )
    serve.add_argument(
        "--url-scheme",
        action="append",
        metavar="SCHEME",
        help="read models by URLs of this kind only; may be given again",
    )
    serve.add_argument(
        "--url-host", action="append", metavar="HOST", help="read models from this host only; may be given again"
    )
    _add_access(serve)
    _add_docker(serve)
    serve.add_argument("--start-timeout", type=float, default=300.0, metavar="SECONDS", help="longest time for init()")
    serve.add_argument(
        "--calm-seconds",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="autoscalers take a replica away when fewer have been enough for so long (default: %(default)s)",
    )
    serve.add_argument(
        "--hang-timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="replace a replica that does not react at all for so long (default: %(default)s)",
    )
    serve.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    serve.set_defaults(run=_serve)

    status = commands.add_parser("status", help="show the service of the state folder")
    _add_home(status)
    status.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the output")
    status.set_defaults(run=_status)

    stop = commands.add_parser("stop", help="stop the service of the state folder, and with it what it serves")
    _add_home(stop)
    stop.set_defaults(run=_stop)

    _add_housekeeping(commands)

    demo = commands.add_parser("demo", help="train a model, register it, serve it and score it")
    _add_home(demo)
    demo.set_defaults(run=_demo)
    return parser


def _add_access(serve: argparse.ArgumentParser) -> None:
    """Who may ask, and over what."""
    access = serve.add_argument_group("as a shared server")
    access.add_argument(
        "--auth",
        choices=("local", "aad", "oidc"),
        default="local",
        help="tokens to accept: only that of the state folder (default), or besides it those of Azure AD (--tenant) or "
        "of another OpenID Connect provider (--issuer)",
    )
    access.add_argument("--tenant", metavar="ID", help="tenant of Azure AD whose tokens are accepted")
    access.add_argument("--authority", metavar="URL", help="authority of that tenant, for a sovereign cloud")
    access.add_argument("--issuer", metavar="URL", help="issuer of the tokens, for --auth oidc")
    access.add_argument("--audience", action="append", metavar="ID", help="whom tokens must be for; may be given again")
    access.add_argument(
        "--grant",
        action="append",
        default=[],
        metavar="ROLE=WHO[@ACCOUNT]",
        help="reader or contributor for an object id, application id, group id, app role or scope; may be given again "
        "(default: the app roles Reader and Contributor, and the scopes ModelManagement.Read and .ReadWrite)",
    )
    access.add_argument("--keys-pause", type=float, default=60.0, help=argparse.SUPPRESS)
    access.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate with its chain, PEM")
    access.add_argument("--tls-key", type=Path, metavar="FILE", help="key of the certificate, PEM, without a password")
    access.add_argument(
        "--allow-plain-http", action="store_true", help="listen beyond loopback without TLS, behind a proxy that has it"
    )
    access.add_argument(
        "--allow-shared-token",
        action="store_true",
        help="listen beyond loopback with no sign-in but the one token of the state folder",
    )


def _add_housekeeping(commands: Any) -> None:
    gc = commands.add_parser("gc", help="show what the state folder has that nothing uses; remove it with --delete")
    _add_home(gc)
    _add_database(gc)
    gc.add_argument("--older-than", type=_days, default=7.0, metavar="DAYS", help="and that is older (default: 7)")
    gc.add_argument("--delete", action="store_true", help="remove it, rather than show it only")
    gc.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the output")
    gc.set_defaults(run=_gc)

    backup = commands.add_parser("backup", help="write a state folder and its database into one file; services may run")
    backup.add_argument("file", type=Path, metavar="FILE", help="the file; compressed when it ends in .gz")
    _add_home(backup)
    _add_database(backup)
    backup.set_defaults(run=_backup)

    restore = commands.add_parser("restore", help="make a new state folder of a backup")
    restore.add_argument("file", type=Path, metavar="FILE", help="a file of mlmgmt backup")
    _add_home(restore)
    _add_database(restore)
    restore.set_defaults(run=_restore)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", metavar="URL", help="PostgreSQL database (default: that of the folder)")


def _database(arguments: argparse.Namespace, home: Path) -> str | None:
    from mlmgmt_nb.service.installation import database_of

    return database_of(home, arguments.database or os.environ.get("MLMGMT_DATABASE"))


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, help="state folder (default: MLMGMT_HOME, or the user's data folder)")


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} is no origin; give one such as https://ml.example.org")
    return text.rstrip("/")


def _add_docker(serve: argparse.ArgumentParser) -> None:
    """What images of compute `docker` are built on, and where they go; for a service that `connect` starts too."""
    docker = serve.add_argument_group("Docker images")
    for flag, what in (
        ("base-image", "base image (default: a slim one with this Python)"),
        ("base-image-spark", "the same for the runtime spark-py (default: that of the others; Java is added)"),
        ("registry", "host, with a path if need be, where images are pushed to and pulled from"),
        ("pip-config", "a pip.conf for the installation of packages in images; no layer gets it"),
    ):
        variable = f"MLMGMT_{flag.replace('-', '_').upper()}"
        docker.add_argument(f"--{flag}", default=os.environ.get(variable), help=f"{what}; also {variable}")


def _serve(arguments: argparse.Namespace) -> int:
    # Loaded here: the other commands need no service.
    from mlmgmt_nb.service.log_file import log_to
    from mlmgmt_nb.service.server import serve
    from mlmgmt_nb.service.settings import Settings

    home = local.state_folder(arguments.home)
    log_to(home / "logs" / "service.log" if arguments.detached else None)
    settings = Settings(
        home=home,
        database=_database(arguments, home),
        operation_days=arguments.keep_operations,
        host=arguments.host,
        port=arguments.port,
        account=arguments.account,
        public_url=arguments.public_url,
        **_access(arguments),
        start_timeout=arguments.start_timeout,
        hang_timeout=arguments.hang_timeout,
        calm_seconds=arguments.calm_seconds,
        data_storage=os.environ.get("MLMGMT_DATA_STORAGE") or None,  # no argument: others see those of a process
        base_image=arguments.base_image,
        base_image_spark=arguments.base_image_spark,
        registry=arguments.registry,
        pip_config=None if arguments.pip_config is None else Path(arguments.pip_config).absolute(),
        url_schemes=None if arguments.url_scheme is None else frozenset(arguments.url_scheme),
        url_hosts=None if arguments.url_host is None else frozenset(arguments.url_host),
    )
    serve(settings, on_ready=lambda url: None if arguments.detached else print(f"{url}\nCtrl-C stops it.", flush=True))
    return 0


def _access(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that say who may ask, and over what.

    Raises:
        UsageError: they do not go together, or would put a service without protection on a network.
    """
    from mlmgmt_nb.service.access.principals import parse_grant
    from mlmgmt_nb.service.settings import AZURE_AUTHORITY, LOOPBACK, IssuerSettings, TlsSettings

    issuer = None
    needed = {"local": (), "aad": ("tenant", "audience"), "oidc": ("issuer", "audience")}[arguments.auth]
    for name in needed:
        if not getattr(arguments, name):
            raise UsageError(f"--auth {arguments.auth} needs --{name}", field=name, fix="See mlmgmt serve --help.")
    for name in ("tenant", "authority", "issuer", "audience", "grant"):
        fits = name in needed or (name == "grant" and needed) or (name == "authority" and arguments.auth == "aad")
        if getattr(arguments, name) and not fits:
            raise UsageError(f"--{name} does not go with --auth {arguments.auth}", field=name, fix="Give --auth too.")
    if needed:
        issuer = IssuerSettings(
            audience=tuple(arguments.audience),
            tenant=arguments.tenant,
            authority=arguments.authority or AZURE_AUTHORITY,
            issuer=arguments.issuer,
            pause=arguments.keys_pause,
        )
    try:
        grants = tuple(parse_grant(text) for text in arguments.grant)
    except ValueError as error:
        raise UsageError(f"--grant: {error}", field="grant") from None
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together", field="tls_key", fix="Give both.")
    tls = TlsSettings(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None
    if arguments.host not in LOOPBACK:
        _check_network(arguments, has_tls=tls is not None, has_auth=issuer is not None)
    return {"issuer": issuer, "grants": grants, "tls": tls}


def _check_network(arguments: argparse.Namespace, *, has_tls: bool, has_auth: bool) -> None:
    where = f"--host {arguments.host} lets other machines in"
    if not has_auth and not arguments.allow_shared_token:
        raise UsageError(
            f"{where}, and nobody would have to sign in",
            field="auth",
            fix="Give --auth aad --tenant T --audience A, or say --allow-shared-token: whoever has the token of the "
            "state folder may then do everything.",
        )
    if not has_tls and not arguments.allow_plain_http:
        raise UsageError(
            f"{where}, and tokens, keys and data would cross the network in the clear",
            field="tls_cert",
            fix="Give --tls-cert and --tls-key, or say --allow-plain-http where a proxy in front has TLS.",
        )


def _status(arguments: argparse.Namespace) -> int:
    endpoint = local.find(arguments.home)
    if endpoint is None:
        raise MlmgmtError(
            f"No service runs on the state folder {local.state_folder(arguments.home)}.",
            fix="connect() starts it when it is needed; mlmgmt serve runs it here.",
        )
    known = {
        "baseUrl": endpoint.base_url,
        "pid": endpoint.pid,
        "home": str(endpoint.home),
        "tokenFile": str(endpoint.token_file),
        "version": endpoint.version,
    }
    if arguments.output == "json":
        print(json.dumps(known, indent=2))
    else:
        print("\n".join(f"{name:<10} {value}" for name, value in known.items()))
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    endpoint = local.find(arguments.home)
    local.stop(arguments.home)
    print("No service was running." if endpoint is None else f"Stopped the service (process {endpoint.pid}).")
    return 0


def _opened(arguments: argparse.Namespace) -> tuple[Store, Home]:
    """The database and the folder of a service, which may run meanwhile."""
    from mlmgmt_nb.service.home import Home
    from mlmgmt_nb.service.store import Store

    home = Home(local.state_folder(arguments.home))
    if not (home.path / "installation").exists() and not home.database.exists():
        raise MlmgmtError(f"{home.path} is no state folder.", fix="Give one with --home or MLMGMT_HOME.")
    database = _database(arguments, home.path)
    return Store(database or home.database, may_migrate=home.is_alone()), home


def _gc(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.service.housekeeping import garbage

    store, home = _opened(arguments)
    found = garbage.find(store, home, dt.timedelta(days=arguments.older_than))
    if arguments.delete:
        found = garbage.remove(store, home, found)
    store.close()
    total = sum(item.bytes for item in found)
    if arguments.output == "json":
        items = [{"kind": i.kind, "name": i.name, "path": i.path, "bytes": i.bytes} for i in found]
        print(json.dumps({"removed": arguments.delete, "bytes": total, "items": items}, indent=2))
        return 0
    for item in found:
        print(f"{item.kind:<12} {_size(item.bytes):>10}  {item.name}")
    what = f"{len(found)} things that nothing uses, {_size(total)}"
    print(f"Removed {what}." if arguments.delete else f"{what}. Nothing was removed: --delete does that.")
    return 0


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:,.4g} GiB"


def _backup(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.service.housekeeping.backup import backup

    store, home = _opened(arguments)
    size = backup(store, home, arguments.file.absolute())
    store.close()
    print(f"{arguments.file}: {_size(size)}. It has the keys of the services and the token: keep it safe.")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb.service.housekeeping.backup import restore

    home = local.state_folder(arguments.home)
    lacking = restore(arguments.file, home, arguments.database or os.environ.get("MLMGMT_DATABASE"))
    print(f"The state folder {home} is ready: mlmgmt serve --home {home}")
    for what in lacking:
        print(f"note: {what}; create the image again", file=sys.stderr)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb import demo

    demo.run(home=arguments.home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
