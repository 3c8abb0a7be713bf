"""The command that replays requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.client.scoring_tests.gate import REPLAY_NAMES, Condition, Gate
from mlmgmt_nb.commands.flags import SERVICE, ServiceArguments, api_arguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.variables import referenced
from mlmgmt_nb.commands.verbs.services.cases import cases_in, errors_in, file_to_write, write_file

__all__ = ["CASES", "COMMANDS", "GATE", "HTML", "JUNIT", "OPTIONS", "TOLERANCE", "checked_gate", "shown_report"]

CASES = Flag(
    "--cases",
    "DataFrame, JSON list, or @FILE (.csv, .json) (default: recorded requests)",
    "value",
    completes="path",
)
TOLERANCE = Flag(
    "--tolerance",
    "largest difference between numbers that count as equal",
    "number",
    default=0.0,
    metavar="T",
    api="tolerance",
)
GATE = Flag(
    "--gate",
    "fail unless a condition holds, such as 'agree >= 0.99 and p95 <= 1.2 * old.p95 and lost == 0', or a "
    "function of the report (in a notebook)",
    "value",
    metavar="CONDITION",
)
HTML = Flag("--html", "file to write the report to", completes="path", metavar="FILE")
JUNIT = Flag("--junit", "file to write JUnit XML to", completes="path", metavar="FILE")

OPTIONS = (
    Flag("--last", "number of the newest recorded requests", "integer", default=1000, metavar="N", api="last"),
    Flag("--concurrency", "number of requests at the same time", "integer", default=1, metavar="N", api="concurrency"),
    TOLERANCE,
)
"""Flags for the options of a replay."""


@dataclass(frozen=True, kw_only=True)
class _Replay(ServiceArguments):
    """Arguments of `service replay`."""

    to: str
    to_key: str | None
    cases: Any
    last: int
    concurrency: int
    tolerance: float
    gate: Any
    junit: str | None
    html: str | None


def checked_gate(gate: Any) -> Condition | None:
    """Return the gate of a flag: a function, a valid condition, or None.

    Raises:
        UsageError: it is not a condition.
    """
    return gate if gate is None or callable(gate) else Gate(str(gate), REPLAY_NAMES).text


class ReportArguments(Protocol):
    """Arguments of the flags for a report."""

    @property
    def gate(self) -> Any: ...
    @property
    def junit(self) -> str | None: ...
    @property
    def html(self) -> str | None: ...


def shown_report(session: Session, report: ReplayReport, arguments: ReportArguments) -> ReplayReport:
    """Write a report to the requested files, check its gate if there is one, and return it.

    Raises:
        ScoringTestFailed: the gate has failed or is inconclusive.
    """
    junit, page = file_to_write(arguments.junit, "junit"), file_to_write(arguments.html, "html")
    gate = checked_gate(arguments.gate)
    if page is not None:
        write_file(page, report.to_page(), "html")
    if junit is not None:
        write_file(junit, report.to_junit(None if gate is None else report.gate(gate)), "junit")
    if gate is not None:
        session.tell(str(report.assert_gate(gate)))
    return report


def _replay(session: Session, arguments: _Replay) -> object:
    junit = file_to_write(arguments.junit, "junit")  # an invalid file or gate fails before anything is sent
    file_to_write(arguments.html, "html")
    gate = checked_gate(arguments.gate)
    with errors_in(junit, f"replay {arguments.service} {arguments.to}", gate):
        report = session.workspace.services.replay(
            arguments.service,
            arguments.to,
            cases=None if arguments.cases is None else cases_in(arguments.cases),
            key=None if arguments.to_key is None else referenced(arguments.to_key, "--to-key", "to_key"),
            **api_arguments(OPTIONS, arguments),
        )
        return shown_report(session, report, arguments)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "replay"),
        "Send the recorded requests of a service, or other cases, to it and to another one, and compare the answers",
        "mlmgmt service replay -n iris --to iris-new --last 5000 --gate 'agree >= 0.99 and lost == 0'",
        _replay,
        (
            SERVICE,
            Flag("--to", "service or scoring URL to compare it with", required=True, completes="service"),
            Flag("--to-key", "key of a scoring URL", metavar="env:VARIABLE|file:PATH"),
            CASES,
            *OPTIONS,
            GATE,
            JUNIT,
            HTML,
        ),
        arguments=_Replay,
    ),
)
