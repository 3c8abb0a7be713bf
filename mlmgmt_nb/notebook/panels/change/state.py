"""State and actions of a `ChangePanel`, without display."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.contract.changes import Candidate
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.contract.traffic import Canary, Mirror
from mlmgmt_nb.errors import MlmgmtError, NotFoundError, UsageError
from mlmgmt_nb.notebook.panels.operation.state import Progress

__all__ = ["ChangeState"]

_BUSY_SECONDS, _LOOK_SECONDS = 0.25, 1.0


class ChangeState:
    """The current state of a proposed change, and the actions of its panel.

    Attributes are replaced, not mutated, so that drawing is safe during a poll. Methods send requests, and raise the
    errors of the client.

    Args:
        change: the proposed change.
        on_change: called, from any thread, when the state of its promotion changes.
        clock: monotonic clock, in seconds.

    Attributes:
        diff: the differences from the deployment that serves; None until they are read.
        diff_error: the reason why the differences cannot be read, or "".
        answer: the last answer of the candidate to a single request, as JSON, or "".
        report: the report of the last replay or mirror, or None.
        is_mirrored: whether the report is from a mirror.
        progress: the progress of the promotion, or None.
        note: the last action, in words.
        is_over: whether the candidate no longer exists.
    """

    def __init__(
        self,
        change: ProposedChange,
        *,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._change = change
        self._on_change = on_change
        self._clock = clock
        self._poller: Poller[Service] | None = None
        self.diff: Difference | None = None
        self.diff_error = ""
        self.answer = ""
        self.report: ReplayReport | None = None
        self.is_mirrored = False
        self.progress: Progress | None = None
        self.note = ""
        self.is_over = False

    @property
    def name(self) -> str:
        """The name of the service."""
        return self._change.name

    @property
    def candidate(self) -> Candidate:
        """The candidate as last read."""
        return self._change.candidate

    @property
    def canary(self) -> Canary | None:
        """The canary of the candidate as last read."""
        return self.candidate.canary

    @property
    def mirror(self) -> Mirror | None:
        """The mirror of the candidate as last read."""
        return self.candidate.mirror

    @property
    def is_open(self) -> bool:
        """Whether a promotion is under way."""
        return self._poller is not None

    def poll(self) -> float | None:
        """Poll the server. Return the seconds until the next poll, or None if the candidate no longer exists."""
        if self._poller is not None and self.progress is not None:
            self._poll_promotion(self._poller, self.progress)
        elif not self.is_over:
            self._refresh()
        if self.is_over:
            return None
        return _BUSY_SECONDS if self.is_open else _LOOK_SECONDS

    def _poll_promotion(self, poller: Poller[Service], progress: Progress) -> None:
        has_ended = poller.done()
        progress.poll()
        if has_ended:
            self._poller = None
            self.is_over = True
            self.note = f"The change serves {self.name} now." if progress.state == "Succeeded" else ""

    def _refresh(self) -> None:
        try:
            self._change.refresh()
        except NotFoundError:
            # If a button of this panel promoted or discarded it meanwhile, the note already says so.
            if not self.is_over and not self.is_open:
                self.is_over = True
                self.note = f"The change of {self.name} was promoted or discarded, or its time is over."
            return
        if self.diff is None and not self.diff_error:
            try:
                self.diff = self._change.diff
            except MlmgmtError as error:
                self.diff_error = f"The differences are not known: {error.message}"

    def send(self, text: str) -> None:
        """Send a request to the candidate, and keep the answer.

        Args:
            text: the input as JSON.

        Raises:
            UsageError: it is not JSON.
            ScoringError: the candidate did not answer it.
        """
        self.answer = ""
        self.answer = json.dumps(self._change.run(_parsed(text, "request")), indent=1, ensure_ascii=False, default=str)

    def replay(self, last: str, cases: str = "") -> None:
        """Send recorded requests or cases to the current deployment and the candidate, and keep the report.

        Args:
            last: number of recorded requests, newest first.
            cases: a JSON list of inputs to send instead, or "".

        Raises:
            UsageError: the number or the list is not valid, or nothing was recorded.
        """
        if cases.strip():
            found = _parsed(cases, "cases")
            if not isinstance(found, list):
                raise UsageError("the cases are not a list", field="cases", fix="Enter a JSON list of inputs.")
            report = self._change.replay(found)
        else:
            number = _number(last, "last", fix="Enter a whole number, such as 1000.")
            report = self._change.replay(last=int(number))
        self.report, self.is_mirrored = report, False
        self.note = f"{report.summary['requests']:,} requests were replayed."

    def start_mirror(self, minutes: str, share: str) -> None:
        """Send copies of callers' requests to the candidate.

        Args:
            minutes: minutes until the mirror ends.
            share: percentage of the requests.

        Raises:
            UsageError: an argument is not valid.
        """
        duration = _number(minutes, "minutes", fix="Enter a number, such as 10.")
        percent = _number(share, "share", fix="Enter a percentage, such as 100.")
        self._change.mirror(duration, share=percent)
        self.note = f"The candidate answers copies of {percent:g} % of the requests of {self.name}."

    def stop_mirror(self) -> None:
        """Stop sending copies of requests to the candidate."""
        self._change.stop_mirror()
        self.note = f"The candidate answers no further copies of requests of {self.name}."

    def compare_mirrored(self) -> None:
        """Compare the answers that the mirror has collected so far, and keep the report.

        Raises:
            UsageError: no request has been mirrored.
        """
        self.report, self.is_mirrored = self._change.mirror_report(), True
        self.note = f"{self.report.summary['requests']:,} mirrored requests were compared."

    def start_canary(self, shares: str, minutes: str, agree: str = "") -> None:
        """Route a share of the requests to the candidate.

        Args:
            shares: the percentage of each step, separated by commas.
            minutes: minutes of each step.
            agree: minimum percentage of its answers that must equal those of the current deployment, or "" for none.

        Raises:
            UsageError: an argument is not valid.
        """
        found = [_number(part, "share", fix="Enter percentages, such as 5, 25, 100.") for part in shares.split(",")]
        duration = _number(minutes or "0", "minutes", fix="Enter a number, such as 10.")
        equal = _number(agree, "agree", fix="Enter a percentage, such as 95.") / 100 if agree.strip() else None
        self._change.canary(found, minutes=duration, min_agree=equal)
        self.note = f"The candidate answers {found[0]:g} % of the requests of {self.name}."

    def stop_canary(self) -> None:
        """Stop routing requests to the candidate."""
        self._change.stop_canary()
        self.note = f"The candidate answers no further requests of {self.name}."

    def promote(self, name: str, reason: str = "", gate: str = "", warm: str = "") -> None:
        """Promote the change, with the last report as evidence.

        Args:
            name: the name of the service, typed as confirmation.
            reason: the reason for the promotion, or "" for the reason of the proposal.
            gate: a condition on the last report, or "".
            warm: minutes to keep the replaced replicas running for an immediate rollback, or "".

        Raises:
            UsageError: the name does not match, the gate or the minutes are not valid, or the gate needs a report.
            ScoringTestFailed: the gate has not passed. Nothing has changed.
        """
        if name != self.name:
            raise UsageError(f"{name!r} is not the name of this service", field="name", fix=f"Type {self.name}.")
        if gate.strip() and self.report is None:
            raise UsageError("the gate needs a report", field="gate", fix="Replay or mirror requests first.")
        minutes = _number(warm, "warm", fix="Enter a number, such as 30.") if warm.strip() else None
        evidence = None
        if self.report is not None:
            evidence = self.report.evidence(self.report.assert_gate(gate) if gate.strip() else None)
        poller = self._change.promote(reason=reason.strip() or None, evidence=evidence, keep_warm=minutes)
        self.progress = Progress(poller, self._clock)
        self._poller = poller
        self.note = f"The change of {self.name} is promoted."
        poller.add_change_callback(lambda _: self._on_change())

    def discard(self) -> None:
        """Remove the candidate."""
        self._change.discard()
        self.is_over = True
        self.note = f"The change of {self.name} is discarded."


def _parsed(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"the {field} is not JSON: {error}", field=field, fix="Enter JSON, such as [[1, 2]]."
        ) from None


def _number(text: str, field: str, *, fix: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{field}: {text.strip()!r} is not a number", field=field, fix=fix)
    return number
