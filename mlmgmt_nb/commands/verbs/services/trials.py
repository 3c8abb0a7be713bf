"""An update that is tried first: a candidate answers requests beside the service, and a gate decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlmgmt_nb.client.scoring_tests.gate import Condition
from mlmgmt_nb.client.scoring_tests.junit import TestCase, junit
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.commands.flags import api_arguments
from mlmgmt_nb.commands.grammar import Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.services.cases import cases_in, file_to_write, write_file
from mlmgmt_nb.commands.verbs.services.replaying import CASES, JUNIT, OPTIONS, checked_gate
from mlmgmt_nb.errors import OperationFailed, UsageError

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
        return change.promote(evidence=report.evidence(verdict))

    def give_up(self, session: Session, service: str, error: OperationFailed) -> None:
        """Remove a candidate that does not start, and say so in the JUnit file."""
        if self.junit is not None:
            gate = self.gate if isinstance(self.gate, str) else "gate"
            text = junit(f"replay {service}", 0.0, [TestCase(gate, "gate", 0.0, "error", error.message)])
            write_file(self.junit, text, "junit")
        session.workspace.services.discard(service)


def trial_of(arguments: TrialArguments) -> Trial | None:
    """Return the trial of an update; None for an update without a gate.

    Raises:
        UsageError: a flag that needs `--gate` is given without it, or the gate is not a valid condition.
    """
    gate = checked_gate(arguments.gate)
    if gate is not None:
        cases = None if arguments.cases is None else cases_in(arguments.cases)
        return Trial(gate, cases, api_arguments(_OPTIONS, arguments), file_to_write(arguments.junit, "junit"))
    for name in ("cases", "junit"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} needs --gate", field=name, fix="Leave it out, or give a gate.")
    return None
