"""The shell command `mlmgmt`: the commands of the service, and the commands in `mlmgmt_nb.commands`."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence

from mlmgmt_nb import __version__, local
from mlmgmt_nb.cli.arguments import add_command, add_home
from mlmgmt_nb.cli.export import add_export
from mlmgmt_nb.cli.housekeeping import add_housekeeping
from mlmgmt_nb.cli.serve import add_serve
from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.terminal import one_line

__all__ = ["main", "service_parser"]

_OWN = frozenset({"serve", "status", "stop", "demo", "gc", "check", "backup", "restore", "export", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line. Return the exit code: 0, 1 after an error, 2 if the line is invalid, or 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the terminal's encoding may lack some characters
    code = 0
    try:
        code = _run(words)
        if sys.stdout is not None:  # as with `>&-`
            sys.stdout.flush()
    except BrokenPipeError:  # such as `mlmgmt status | head`
        sys.stdout = None
    return code


def _run(words: Sequence[str]) -> int:
    """Run a command line. Return the exit code as `main` does."""
    if not words or words[0] in {"-h", "--help"}:
        service_parser().print_help()
        print()
    if not words or words[0] not in _OWN:
        # Imported here: `mlmgmt serve` does not need it.
        from mlmgmt_nb.commands import main as run_command

        return run_command(words)
    return _run_own(words)


def _run_own(words: Sequence[str]) -> int:
    """Run a command of the service. Return the exit code as `main` does."""
    arguments = service_parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except MlmgmtError as error:
        print(f"mlmgmt: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        known = _store_error(error)
        if known is None:
            raise
        print(f"mlmgmt: {known}", file=sys.stderr)
        return 1
    return code


def _store_error(error: Exception) -> MlmgmtError | None:
    """Return the error to print for a database error; None for other errors."""
    if "sqlalchemy" not in sys.modules:  # the command did not open a database
        return None
    from mlmgmt_nb.service.store.errors import store_error

    return store_error(error)


def service_parser() -> argparse.ArgumentParser:
    """Build the parser of the service's own commands."""
    parser = argparse.ArgumentParser(
        prog="mlmgmt", description="Commands for the service on this machine:", add_help=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")

    add_serve(commands)
    status = add_command(commands, "status", "show the service of the state folder")
    add_home(status)
    status.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="output format (default: %(default)s)"
    )
    status.set_defaults(run=_status)

    stop = add_command(commands, "stop", "stop the service of the state folder and everything it serves")
    add_home(stop)
    stop.set_defaults(run=_stop)

    add_housekeeping(commands)
    add_export(commands)

    demo = add_command(commands, "demo", "train, register, serve and score a sample model")
    add_home(demo)
    demo.set_defaults(run=_demo)
    return parser


def _status(arguments: argparse.Namespace) -> int:
    endpoint = local.locate(arguments.home)
    if endpoint is None:
        raise MlmgmtError(
            f"No service is running for the state folder {local.state_folder(arguments.home)}.",
            fix="Start it with mlmgmt serve, or call connect(), which starts it.",
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
        print("\n".join(one_line(f"{name:<10} {value}") for name, value in known.items()))
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    was_running = local.stop(arguments.home)
    print("Stopped the service." if was_running else "No service was running.")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from mlmgmt_nb import demo

    demo.run(home=arguments.home)
    return 0
