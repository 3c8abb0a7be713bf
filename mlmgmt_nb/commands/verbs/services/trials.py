"""An update that is tried first: a candidate answers requests beside the service, and a gate decides."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlmgmt_nb.client.scoring_tests.gate import Condition
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.commands.flags import api_arguments
from mlmgmt_nb.commands.grammar import Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.services.cases import cases_in, errors_in, file_to_write, write_error, write_file
from mlmgmt_nb.commands.verbs.services.replaying import CASES, JUNIT, OPTIONS, checked_gate
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import UsageError

__all__ = ["TRIAL", "Trial", "trial_of"]

_OPTIONS = (
    *(flag for flag in OPTIONS if flag.dest != "tolerance"),  # `--tolerance` applies to packaging in this command
    Flag(
        "--gate-tolerance",
        "largest difference between numbers of the answers that count as equal",
        "number",
        default=0.0,
        metavar="T",
        api="tolerance",
    ),
)

TRIAL = (
    Flag(
        "--gate",
        "update only if a condition holds in a replay to old and new, such as 'agree >= 0.99 and lost == 0'",
        "value",
        metavar="CONDITION",
    ),
    CASES,
    *_OPTIONS,
    JUNIT,
)
"""Flags for an update with a gate."""


class TrialArguments(Protocol):
    """Arguments of these flags."""

    @property
    def service(self) -> str: ...
    @property
    def gate(self) -> Any: ...
    @property
    def cases(self) -> Any: ...
    @property
    def junit(self) -> str | None: ...


@dataclass(frozen=True)
class Trial:
    """A trial: the gate, and the requests that it is based on."""

    gate: Condition
    cases: Any
    options: dict[str, Any]
    junit: Path | None

    def check_cases(self, session: Session, service: Service) -> None:
        """Check that there are requests to replay, before an image is built.

        Raises:
            UsageError: no cases are given, and the service has no recorded requests.
        """
        if self.cases is None:
            session.workspace.services.check_recorded(service)

    def decide(self, session: Session, change: ProposedChange) -> object:
        """Replay requests, and promote the change if the gate passes. Otherwise, discard the candidate.

        Raises:
            ScoringTestFailed: the gate has failed or is inconclusive.
        """
        try:
            report = change.replay(cases=self.cases, **self.options)
            verdict = report.gate(self.gate)
            if self.junit is not None:
                write_file(self.junit, report.to_junit(verdict), "junit")
            report.assert_gate(self.gate)
        except BaseException:
            change.discard()
            raise
        session.tell(str(verdict))
        promotion = change.promote(evidence=report.evidence(verdict))
        return promotion.undone(lambda error: write_error(self.junit, _suite(change.name), self.gate, error))

    def errors_reported(self, service: str) -> AbstractContextManager[None]:
        """Return a context in which every error is written to the JUnit file, except for that of a failed gate."""
        return errors_in(self.junit, _suite(service), self.gate)


def _suite(service: str) -> str:
    """Return the name of the JUnit suite of a trial that ends without a report."""
    return f"replay {service}"


def trial_of(arguments: TrialArguments) -> Trial | None:
    """Return the trial of an update; None for an update without a gate.

    Raises:
        UsageError: a flag that needs `--gate` is given without it, or the gate is not a valid condition.
    """
    gate = checked_gate(arguments.gate)
    if gate is not None:
        junit = file_to_write(arguments.junit, "junit")
        with errors_in(junit, _suite(arguments.service), gate):
            cases = None if arguments.cases is None else cases_in(arguments.cases)
        return Trial(gate, cases, api_arguments(_OPTIONS, arguments), junit)
    for name in ("cases", "junit"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} needs --gate", field=name, fix="Leave it out, or give a gate.")
    return None
