"""The shell command `mlmgmt`: the service's own commands, and those of `mlmgmt_nb.commands`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from mlmgmt_nb import __version__, local
from mlmgmt_nb.errors import MlmgmtError

__all__ = ["main"]


_OWN = frozenset({"serve", "status", "stop", "demo", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; gives the exit code: 0, 1 (the error is on standard error), or 2 for a wrong line."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help"}:
        _parser().print_help()
        print()
    if not words or words[0] not in _OWN:
        # Loaded here: `mlmgmt serve` has no use for it.
        from mlmgmt_nb.commands import main as run_command

        return run_command(words)
    arguments = _parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except MlmgmtError as error:
        print(f"mlmgmt: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
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
    serve.add_argument("--start-timeout", type=float, default=300.0, metavar="SECONDS", help="longest time for init()")
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

    demo = commands.add_parser("demo", help="train a model, register it, serve it and score it")
    _add_home(demo)
    demo.set_defaults(run=_demo)
    return parser


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, help="state folder (default: MLMGMT_HOME, or the user's data folder)")


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} is no origin; give one such as https://ml.example.org")
    return text.rstrip("/")


def _serve(arguments: argparse.Namespace) -> int:
    # Loaded here: the other commands need no service.
    from mlmgmt_nb.service.installation import database_of
    from mlmgmt_nb.service.server import serve
    from mlmgmt_nb.service.settings import Settings

    home = local.state_folder(arguments.home)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        home=home,
        database=database_of(home, arguments.database or os.environ.get("MLMGMT_DATABASE")),
        host=arguments.host,
        port=arguments.port,
        account=arguments.account,
        public_url=arguments.public_url,
        start_timeout=arguments.start_timeout,
        hang_timeout=arguments.hang_timeout,
        data_storage=os.environ.get("MLMGMT_DATA_STORAGE") or None,  # no argument: others see those of a process
        url_schemes=None if arguments.url_scheme is None else frozenset(arguments.url_scheme),
        url_hosts=None if arguments.url_host is None else frozenset(arguments.url_host),
    )
    serve(settings, on_ready=lambda url: None if arguments.detached else print(f"{url}\nCtrl-C stops it.", flush=True))
    return 0


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


def _demo(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb import demo

    demo.run(home=arguments.home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
