"""The command that tests a service with cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.services import sample
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]


def _test(session: Session, arguments: Any) -> Any:
    junit = Path(arguments.junit).expanduser() if arguments.junit else None
    if junit is not None and not junit.parent.is_dir():
        raise UsageError(f"--junit: there is no folder {junit.parent}", field="junit", fix="Make it, or give another.")
    if arguments.no_wait and not session.stays:
        raise UsageError("--no-wait is for notebooks: the test would end with the command", field="no_wait")
    if arguments.no_wait and (junit is not None or arguments.assert_ok):
        raise UsageError(
            "--no-wait does not go with --junit and --assert-ok",
            field="no_wait",
            fix="Call `.result().to_junit()` and `.result().assert_ok()` of what it returns.",
        )
    options = {
        name: getattr(arguments, name)
        for name in ("requests", "concurrency", "duration", "rate", "tolerance", "processes")
    }
    test = session.workspace.services.scoring_test(
        arguments.service,
        _cases(session, arguments),
        expect=arguments.expect,
        against=arguments.against,
        **{name: value for name, value in options.items() if value is not None},
    )
    if arguments.no_wait:
        test.start()
        return test
    report = session.testing(test)
    if junit is not None:
        junit.write_text(report.to_junit(), encoding="utf-8")
    if arguments.assert_ok:
        report.assert_ok()
    return report


def _cases(session: Session, arguments: Any) -> Any:
    """Return the cases of `--cases`: a Python value, JSON text, or `@` and a file; the service's own sample without."""
    given = arguments.cases
    if given is None:
        case = sample(session.workspace, arguments.service)
        if not case:
            raise UsageError(
                f"service {arguments.service!r} has no sample", field="cases", fix="Give cases with --cases."
            )
        return [case]
    if not isinstance(given, str):
        return given
    return _read(Path(given[1:]).expanduser()) if given.startswith("@") else _list(given, "--cases")


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".csv":
            import pandas as pd  # only who has such a file needs it

            return pd.read_csv(path)
        return _list(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"--cases: {path} cannot be read: {error}", field="cases") from error


def _list(text: str, where: str) -> list[Any]:
    try:
        cases = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where} is no JSON: {error}", field="cases", fix="Give a list of inputs.") from error
    if not isinstance(cases, list):
        raise UsageError(
            f"{where} is no list", field="cases", fix="Give a list of inputs, each as `service run` takes it."
        )
    return cases


COMMANDS = (
    Command(
        ("service", "test"),
        "Send cases to a service and judge its answers; with --requests, --duration or --rate, under load",
        "mlmgmt service test -n iris --cases @cases.csv --expect species --concurrency 4",
        _test,
        (
            Flag("-i -n --id --name --service", "id or name of the service", required=True, completes="service"),
            Flag(
                "--cases", "DataFrame, JSON list, or @FILE (.csv, .json); the sample without", "value", completes="path"
            ),
            Flag("--expect", "column with the expected answers, or in a notebook a function", "value"),
            Flag("--against", "another service, whose answers are the right ones", completes="service"),
            Flag("--requests", "how many to send; each case once without", "integer", metavar="N"),
            Flag("--concurrency", "how many at the same time", "integer", metavar="N"),
            Flag("--duration", "seconds after which no more are sent", "number", metavar="SECONDS"),
            Flag("--rate", "requests due in a second; as many as are answered without", "number", metavar="N"),
            Flag("--processes", "how many processes send them; by the concurrency without", "integer", metavar="N"),
            Flag("--tolerance", "numbers that differ by no more are the same", "number", metavar="T"),
            Flag("--no-wait", "in a notebook: go on in the background; `.result()` of the value waits", "switch"),
            Flag("--junit", "file to write JUnit XML to", completes="path", metavar="FILE"),
            Flag("--assert-ok", "fail when an answer is wrong or missing", "switch"),
        ),
    ),
)
