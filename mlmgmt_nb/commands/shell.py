"""Run a command line from the shell and write its result."""

from __future__ import annotations

import shutil
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mlmgmt_nb.client import Pager, Poller, ScoringReport, ScoringTest
from mlmgmt_nb.client.monitoring.log_lines import readable_log
from mlmgmt_nb.client.monitoring.stages import watch
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.commands.flags import WaitingArguments
from mlmgmt_nb.commands.grammar import Help
from mlmgmt_nb.commands.output.formats import formatted
from mlmgmt_nb.commands.session import Outcome, Session
from mlmgmt_nb.commands.table import COMMANDS
from mlmgmt_nb.commands.upload_progress import Meter
from mlmgmt_nb.commands.values import Keys, LogStream, ServiceLog, Text
from mlmgmt_nb.errors import MlmgmtError, UsageError
from mlmgmt_nb.redaction import redacted
from mlmgmt_nb.terminal import Terminal

__all__ = ["main"]

_FOR_PEOPLE = ("table", "wide")
"""Forms of the output for people."""


def main(argv: Sequence[str], stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """Run a command line.

    Args:
        argv: the words and flags after the program name.
        stdout, stderr: streams for results and messages (default: the standard streams).

    Returns:
        the exit code: 0; 1 after an error, which is on `stderr`; 2 for an invalid command line; 130 after Ctrl-C.
    """
    out, err = Terminal(stdout or sys.stdout), Terminal(stderr or sys.stderr)

    def report(step: str, seconds: float) -> None:
        err.write(f"{step}: {seconds:.2f} s\n")

    def uploading(path: str) -> Meter | None:
        def show(text: str, part: float) -> None:
            err.rewrite(text, "\n" * (part == 1))

        return Meter(Path(path).name, show) if err.isatty() else None

    def testing(test: ScoringTest) -> ScoringReport:
        if not err.isatty():
            return test.run()
        try:
            return test.run(lambda _: err.rewrite(str(test)))
        finally:
            err.rewrite(str(test), "\n")

    session = Session(
        COMMANDS,
        config=Config(),
        report=report,
        uploading=uploading,
        testing=testing,
        tell=lambda text: err.write(f"{text}\n"),
    )
    try:
        with _warnings_on(err):
            _write(session, session.execute(argv), out, err)
    except MlmgmtError as error:
        if "--debug" in argv:
            err.write(redacted("".join(traceback.format_exception(error))))
        text = str(error)
        err.write(f"{text}\n" if text.startswith("mlmgmt ") else f"mlmgmt: {text}\n")
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # such as `mlmgmt model list | head`
        sys.stdout = None
        return 0
    except KeyboardInterrupt as stop:
        err.write("\n".join(["", *getattr(stop, "__notes__", ()), ""]))
        return 130
    finally:
        session.close()
    return 0


@contextmanager
def _warnings_on(err: Terminal) -> Iterator[None]:
    """Write each warning as a separate line."""

    def show(message: Warning | str, *_: object) -> None:
        err.write(f"mlmgmt: warning: {message}\n")

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _write(session: Session, outcome: Outcome, out: Terminal, err: Terminal) -> None:
    value, arguments = outcome.value, outcome.arguments
    if isinstance(value, Help):
        out.write(value.rstrip() + "\n")
        return
    if isinstance(value, LogStream):
        _write_log(value, out)
    if isinstance(value, Poller):
        value = _awaited(session, value, outcome, err)
    output = session.setting("output") or "table"
    with session.reported(arguments):
        text = formatted(_readable(value, output, out), output, arguments.query, encoding=out.encoding)
    if isinstance(value, Keys) and value.shown and not arguments.query:  # a program queries single keys
        err.write("These keys give access to the service: keep them out of files and logs.\n")
    if text:
        out.write(text + "\n")
    elif output in _FOR_PEOPLE and _has_rows(value):
        err.write("No results.\n")


def _has_rows(value: object) -> bool:
    """Return whether a value is shown as the rows of a table, if it has any."""
    return isinstance(value, (Pager, list)) or hasattr(value, "iloc")


def _write_log(log: LogStream, out: Terminal) -> None:
    for part in log:
        out.write(readable_log(part) if out.isatty() else part)


def _readable(value: object, output: str, out: Terminal) -> object:
    """Return the log of a service formatted for reading if it is shown on a terminal, other values unchanged."""
    if isinstance(value, ServiceLog) and output in _FOR_PEOPLE and out.isatty():
        return Text(readable_log(value))
    return value


def _show_progress(poller: Poller[object], timeout: float | None, err: Terminal) -> None:
    """Show the progress of an operation in one terminal line until it has ended."""
    try:
        for line in watch(poller, timeout):
            err.rewrite(line[: shutil.get_terminal_size().columns - 1])
    finally:
        err.rewrite("")


def _awaited(session: Session, poller: Poller[object], outcome: Outcome, err: Terminal) -> object:
    """Wait for an operation and return its resource; with `--no-wait`, return the operation."""
    resume = f"{session.prog} operation watch {poller.operation_id}"
    arguments = outcome.arguments
    waiting = arguments if isinstance(arguments, WaitingArguments) else WaitingArguments()
    if waiting.no_wait:
        err.write(f"The operation continues; wait for it with `{resume}`.\n")
        return session.workspace.operations.get(poller.operation_id)
    try:
        with session.advice(outcome.command, arguments):
            if err.isatty():
                _show_progress(poller, waiting.timeout, err)
            return poller.result(waiting.timeout)
    except KeyboardInterrupt as stop:
        stop.add_note(f"The operation continues; wait for it with `{resume}`.")
        raise
