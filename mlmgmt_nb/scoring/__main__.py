"""`python -m mlmgmt_nb.scoring`: serve a driver folder, standalone or as a replica of a supervisor."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence

from mlmgmt_nb.scoring.application.variables import read_variables
from mlmgmt_nb.scoring.driver.output import capture
from mlmgmt_nb.scoring.http.access.hosts import ANY, LOOPBACK
from mlmgmt_nb.scoring.process.container import receive_listeners
from mlmgmt_nb.scoring.process.control import Start
from mlmgmt_nb.scoring.process.keys_file import KeysFile
from mlmgmt_nb.scoring.process.lifetime import end_process
from mlmgmt_nb.scoring.process.orchestration import Orchestration
from mlmgmt_nb.scoring.process.supervised import run_contained, run_supervised
from mlmgmt_nb.scoring.process.workers import bind, run_standalone

__all__ = ["driver_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a folder; return the exit code."""
    parser = driver_parser()
    options = parser.parse_args(arguments)
    if (options.fd is None) != (options.control_fd is None):
        parser.error("--fd and --control-fd go together")
    if options.workers > 1 and (options.keys_file or options.failure_file or options.stats_port):
        parser.error("--keys-file, --failure-file and --stats-port need --workers 1")
    try:
        environment = read_variables(options.env, options.env_file)
        keys_file = KeysFile(options.keys_file) if options.keys_file else None
    except (OSError, ValueError) as error:
        parser.error(str(error))
    capture()
    if options.fd is not None:
        return run_supervised(options.app, options.driver, options.schema, options.fd, options.control_fd)
    if options.control_stdio:

        def listen() -> list[socket.socket]:
            return receive_listeners(options.listener) if options.listener else [bind(options.host, options.port)]

        return run_contained(options.app, options.driver, options.schema, listen)
    start = Start(
        name=options.name,
        concurrency=options.concurrency,
        max_body_bytes=options.max_body_bytes,
        request_timeout_seconds=options.timeout,
        client_timeout_seconds=options.client_timeout,
        allowed_hosts=_allowed_hosts(options),
        request_log=options.request_log,
        environment=environment,
    )
    return run_standalone(
        options.app,
        options.driver,
        options.schema,
        options.host,
        options.port,
        options.workers,
        start,
        Orchestration(keys_file, options.failure_file, options.stats_port),
    )


def driver_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    defaults = Start()
    parser = argparse.ArgumentParser(prog="python -m mlmgmt_nb.scoring", description="Serve a driver folder.")
    parser.add_argument("--app", required=True, metavar="FOLDER", help="the folder with the driver and its files")
    parser.add_argument("--driver", metavar="FILE", help="the driver, relative to the folder (default: score.py)")
    parser.add_argument("--schema", metavar="FILE", help="the schema file (default: service_schema.json if it exists)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=5001, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--workers", type=_positive, default=1, help="number of processes (default: %(default)s)")
    parser.add_argument("--name", default=defaults.name, help="name of the service in its URL (default: %(default)s)")
    parser.add_argument(
        "--concurrency",
        type=_positive,
        default=defaults.concurrency,
        help="maximum number of running and waiting requests per process; others get 503 (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=defaults.request_timeout_seconds,
        help="seconds after which a request gets 504 (default: %(default)s)",
    )
    parser.add_argument(
        "--client-timeout",
        type=float,
        default=defaults.client_timeout_seconds,
        help="seconds that a caller may take to send the head of a request, or to receive a part of an answer "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-body-bytes",
        type=_positive,
        default=defaults.max_body_bytes,
        help="maximum size of a request body, in bytes (default: %(default)s)",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        metavar="HOST",
        help="name, address or network that requests may name in Host and Origin; repeatable "
        "(default: any, or this machine's own when --host is a loopback address)",
    )
    parser.add_argument(
        "--request-log",
        action=argparse.BooleanOptionalAction,
        default=defaults.request_log,
        help="write a line of JSON to stderr for each request (default: %(default)s)",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment variable of the driver; repeatable",
    )
    parser.add_argument(
        "--env-file", action="append", default=[], metavar="FILE", help="file of NAME=VALUE lines; repeatable"
    )
    parser.add_argument(
        "--keys-file",
        metavar="FILE",
        help="require a key: SHA-256 digests in hexadecimal, one per line; read again when the file changes",
    )
    parser.add_argument(
        "--failure-file", metavar="FILE", help="file for the reason, as JSON, if the driver does not load"
    )
    parser.add_argument(
        "--stats-port",
        type=_positive,
        metavar="PORT",
        help="port for `GET /`, which returns the counters as JSON to anyone who can reach it",
    )
    parser.add_argument("--fd", type=int, action="append", help="supervised: an inherited listening socket; repeatable")
    parser.add_argument("--control-fd", type=int, help="supervised: one end of the control channel")
    parser.add_argument(
        "--control-stdio", action="store_true", help="supervised in a container: standard input and output control it"
    )
    parser.add_argument(
        "--listener", metavar="PATH", help="with --control-stdio: UNIX socket where a listening socket is handed over"
    )
    return parser


def _allowed_hosts(options: argparse.Namespace) -> tuple[str, ...]:
    if options.allowed_host is None and options.host not in LOOPBACK:
        return (ANY,)  # beyond loopback, the names of the host are unknown here
    return (*LOOPBACK, options.host, *(options.allowed_host or []))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    end_process(main())
