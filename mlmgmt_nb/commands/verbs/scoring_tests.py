"""The command that tests a service with cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlmgmt_nb.client.scoring_tests.gate import Condition, Gate
from mlmgmt_nb.commands.flags import ServiceArguments, api_arguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.services import sample
from mlmgmt_nb.commands.verbs.services.cases import cases_in, errors_in, file_to_write, write_file
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]


_LOAD = (
    Flag("--requests", "number of requests (default: each case once)", "integer", metavar="N", api="requests"),
    Flag("--concurrency", "number of concurrent requests (default: 1)", "integer", metavar="N", api="concurrency"),
    Flag("--duration", "seconds to send requests for", "number", metavar="SECONDS", api="duration"),
    Flag("--rate", "target requests per second (default: unthrottled)", "number", metavar="N", api="rate"),
    Flag(
        "--processes",
        "number of client processes (default: from the concurrency)",
        "integer",
        metavar="N",
        api="processes",
    ),
    Flag(
        "--tolerance",
        "largest difference between numbers that count as equal (default: 0)",
        "number",
        metavar="T",
        api="tolerance",
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Test(ServiceArguments):
    """Arguments of `service test`."""

    cases: Any
    expect: Any
    against: str | None
    requests: int | None
    concurrency: int | None
    duration: float | None
    rate: float | None
    processes: int | None
    tolerance: float | None
    no_wait: bool
    junit: str | None
    assert_ok: bool
    gate: Any


def _test(session: Session, arguments: _Test) -> object:
    junit = file_to_write(arguments.junit, "junit")
    gate = arguments.gate if arguments.gate is None or callable(arguments.gate) else Gate(str(arguments.gate)).text
    _check_no_wait(session, arguments, junit, gate)
    with errors_in(junit, arguments.service, gate):
        return _tested(session, arguments, junit, gate)


def _tested(session: Session, arguments: _Test, junit: Path | None, gate: Condition | None) -> object:
    """Run the test, and return its report; the test itself with `--no-wait`.

    Raises:
        ScoringTestFailed: the gate did not pass, or an answer is wrong or missing with `--assert-ok`.
    """
    options = api_arguments(_LOAD, arguments)
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
    verdict = None if gate is None else report.gate(gate)
    if junit is not None:
        write_file(junit, report.to_junit(verdict), "junit")
    if gate is not None:
        session.tell(str(report.assert_gate(gate)))
    if arguments.assert_ok:
        report.assert_ok()
    return report


def _check_no_wait(session: Session, arguments: _Test, junit: Path | None, gate: object) -> None:
    """Raise UsageError if `--no-wait` is given but does not work in this session or with the other flags."""
    if not arguments.no_wait:
        return
    if not session.stays:
        raise UsageError(
            "--no-wait works only in notebooks: in a shell the test ends with the command",
            field="no_wait",
            fix="Omit --no-wait.",
        )
    if junit is not None or gate is not None or arguments.assert_ok:
        raise UsageError(
            "--no-wait cannot be combined with --junit, --gate or --assert-ok",
            field="no_wait",
            fix="Call `.result().to_junit()` and `.result().assert_ok()` on the returned test.",
        )


def _cases(session: Session, arguments: _Test) -> Any:
    """Return the cases of `--cases`: a Python value, JSON text, or `@` and a file. By default, the service sample."""
    given = arguments.cases
    if given is None:
        case = sample(session.workspace, arguments.service)
        if not case:
            raise UsageError(
                f"service {arguments.service!r} has no sample", field="cases", fix="Give cases with --cases."
            )
        return [case]
    return cases_in(given)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "test"),
        "Send cases to a service and check its answers; with --requests, --duration or --rate, under load",
        "mlmgmt service test -n iris --cases @cases.csv --expect species --concurrency 4",
        _test,
        (
            Flag("-i -n --id --name --service", "id or name of the service", required=True, completes="service"),
            Flag(
                "--cases",
                "DataFrame, JSON list, or @FILE (.csv, .json) (default: the sample)",
                "value",
                completes="path",
            ),
            Flag("--expect", "column with the expected answers, or a function (in a notebook)", "value"),
            Flag("--against", "service whose answers are the expected ones", completes="service"),
            *_LOAD,
            Flag("--no-wait", "run in the background (notebooks); `.result()` waits for the report", "switch"),
            Flag("--junit", "file to write JUnit XML to", completes="path", metavar="FILE"),
            Flag("--assert-ok", "fail if an answer is wrong or missing", "switch"),
            Flag(
                "--gate",
                "fail unless a condition holds, such as 'agree >= 0.99 and p95 <= 1.2 * old.p95 and errors == 0', or a "
                "function of the report (in a notebook)",
                "value",
                metavar="CONDITION",
            ),
        ),
        arguments=_Test,
    ),
)
