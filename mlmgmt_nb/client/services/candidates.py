"""Candidates of services: proposed deployments that run beside the one that serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from mlmgmt_nb.client.bodies import ServiceSettings, checked, is_number, settings_fields
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.missing import known_image
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.services.support import check_candidates
from mlmgmt_nb.client.services.traffic import CandidateTraffic, ServiceTraffic
from mlmgmt_nb.contract import Image, ServiceResponse
from mlmgmt_nb.contract.changes import CANDIDATE_ID, MOST_WARM_MINUTES, Candidate
from mlmgmt_nb.contract.extensions import Service, ServiceUpdate
from mlmgmt_nb.contract.limits import too_long
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.short_repr import cut

if TYPE_CHECKING:
    import pandas as pd

    from mlmgmt_nb.client.changes.difference import Difference
    from mlmgmt_nb.client.replays.replay import ReplayOptions
    from mlmgmt_nb.client.replays.report import ReplayReport
    from mlmgmt_nb.client.scoring_tests.gate import Condition
    from mlmgmt_nb.client.scoring_tests.options import LoadOptions
    from mlmgmt_nb.client.scoring_tests.report import ScoringReport

__all__ = ["ProposedChange", "ServiceCandidates"]

_CHECK_SECONDS = 1.0
"""Seconds between two checks of the candidate during a replay that misses answers."""


class ProposedChange(CandidateTraffic):
    """A change of a service that is tried before it is made: `promote` or `discard` it.

    The proposed deployment runs as the candidate of the service: in replicas of its own, under the same keys, at `url`.
    It is removed at `expires_at` unless it was promoted before.

    Example:
        >>> service = ws.deploy("iris-3", model="iris.pkl", driver="score.py")
        >>> change = ws.services.propose("iris-3", num_replicas=2, reason="more callers")
        >>> [str(one) for one in change.diff.changes]
        ['num_replicas: 1 -> 2']
        >>> change.run([[5.1, 3.5, 1.4, 0.2]])
        [0]
        >>> service = change.promote().result()
        >>> service.num_replicas, service.last_change.reason
        (2, 'more callers')
        >>> ws.services.delete(service)
        True

    Attributes:
        candidate: the last description of the candidate from the server; see `refresh`.
    """

    _services: ServiceCandidates

    @property
    def name(self) -> str:
        """The name of the service."""
        return (self.candidate.name or "").partition("/")[0]

    @property
    def url(self) -> str:
        """The scoring URL of the candidate, which accepts the keys of the service."""
        return self.candidate.scoring_uri or ""

    @property
    def expires_at(self) -> Any:
        """The time at which the candidate is removed."""
        return self.candidate.expires_at

    @property
    def diff(self) -> Difference:
        """The differences from the deployment that serves now, as `services.diff` returns them."""
        return self._services.diff(self._services.get(self._service_id), self.candidate)

    def refresh(self) -> ProposedChange:
        """Get the candidate from the server again.

        Raises:
            NotFoundError: it was promoted, discarded or replaced by another proposal, or its time is over.
        """
        self.candidate = self._services.change(self._service_id, candidate=self._candidate_id).candidate
        return self

    def run(self, data: Any, *, timeout: float = 60.0) -> Any:
        """Score data with the candidate, as `services.run` does with the service.

        Args:
            data: as for `services.run`.
            timeout: maximum seconds to wait for the answer.
        """
        return self._services.run(self.candidate.id or "", data, timeout=timeout)

    def test(self, cases: pd.DataFrame | Sequence[Any], **options: Unpack[LoadOptions]) -> ScoringReport:
        """Send cases to the candidate and the service, and compare the answers.

        Args:
            cases: as for `services.test`.
            **options: see `LoadOptions`.
        """
        return self._services.test(self.candidate.id or "", cases, against=self._service_id, **options)

    def replay(
        self,
        cases: pd.DataFrame | Sequence[Any] | None = None,
        *,
        last: int = 1000,
        on_progress: Callable[[ReplayReport], None] | None = None,
        **options: Unpack[ReplayOptions],
    ) -> ReplayReport:
        """Send recorded requests of the service, or cases, to the service and the candidate, and compare the answers
        pair by pair.

        Args:
            cases: as for `services.replay` (default: the requests that the service recorded).
            last: maximum number of recorded requests; the newest are used.
            on_progress: called several times a second with the report so far.
            **options: see `ReplayOptions`.

        Raises:
            UsageError: the cases are empty, or nothing was recorded. Nothing was sent.
            NotFoundError: the candidate was promoted, discarded or replaced, or its time is over; also if that happens
                during the replay.
        """
        self.refresh()
        checked_at = time.monotonic()

        def check(report: ReplayReport) -> None:
            """End the replay if the candidate no longer exists: missing answers are not its fault then."""
            nonlocal checked_at
            if time.monotonic() - checked_at > _CHECK_SECONDS:
                checked_at = time.monotonic()
                if report.summary["lost"]:
                    self.refresh()
            if on_progress is not None:
                on_progress(report)

        report = self._services.replay(
            self._service_id, self.candidate.id or "", cases=cases, last=last, on_progress=check, **options
        )
        if report.summary["lost"]:
            self.refresh()
        return report

    def mirror_report(self, *, tolerance: float = 0.0) -> ReplayReport:
        """Compare the answers of the mirror so far, pair by pair, as a replay does.

        Latencies of the current deployment are those during the mirror. Requests without a copy are `skipped`.

        Args:
            tolerance: relative or absolute difference up to which two numbers are equal.

        Raises:
            UsageError: no request has been mirrored.
            NotFoundError: the candidate was promoted, discarded or replaced, or its time is over.
        """
        return self._services.mirror_report(self.refresh().candidate, tolerance)

    def promote_if(
        self, gate: Condition, report: ReplayReport, *, reason: str | None = None, keep_warm: float | None = None
    ) -> Poller[Service]:
        """Promote the candidate if a gate has passed, with the report as evidence. Discard it if the gate has failed.

        Example:
            >>> change = ws.services.propose("iris", max_concurrent_requests=30)
            >>> report = change.replay(cases=[[[5.1, 3.5, 1.4, 0.2]]] * 20)
            >>> service = change.promote_if("errors == 0 and lost == 0", report).result()
            >>> "gate passed: errors == 0" in service.last_change.evidence
            True

        Args:
            gate: a condition or a function, as `ReplayReport.gate` takes it.
            report: the report of `replay` or `mirror_report`.
            reason: the reason, for the record of the change (default: that of the proposal).
            keep_warm: as for `promote`.

        Raises:
            ScoringTestFailed: the gate has failed, and the candidate is discarded; or it is inconclusive, and the
                candidate still runs.
            ConflictError: it does not run, or another operation on the service is running.
        """
        from mlmgmt_nb.client.scoring_tests.gate import passed  # not needed to deploy

        verdict = report.gate(gate)
        if verdict.outcome == "failed":
            self.discard()
        return self.promote(reason=reason, evidence=report.evidence(passed(verdict, report)), keep_warm=keep_warm)

    def promote(
        self, *, reason: str | None = None, evidence: str | None = None, keep_warm: float | None = None
    ) -> Poller[Service]:
        """Make the candidate the deployment that serves, under the URL and keys of the service.

        Its replicas are handed over as they are, unless their image was built by an earlier version of mlmgmt-nb: then
        new ones start first.

        Args:
            reason: the reason, for the record of the change (default: that of the proposal).
            evidence: `report.evidence()`, or where the evidence is, for the record of the change.
            keep_warm: minutes to keep the replicas that it replaces, with their reservation: a rollback uses them at
                once. Another change, or a restart of the Model Management service, ends them.

        Raises:
            ConflictError: it does not run, another operation on the service is running, or `keep_warm` was given for a
                cluster or a change of secrets.
            NotFoundError: it was promoted or discarded before, or its time is over.
        """
        return self._services.promote(
            self._service_id, reason=reason, evidence=evidence, keep_warm=keep_warm, candidate=self._candidate_id
        )

    def discard(self) -> bool:
        """Remove the candidate and its data. Return False if it no longer exists."""
        return self._services.discard(self._service_id, candidate=self._candidate_id)

    def __repr__(self) -> str:
        return f"ProposedChange({self.name!r}, state={self.candidate.state!r}, url={cut(repr(self.url), 110)})"


class ServiceCandidates(ServiceTraffic):
    """Propose, promote and discard changes."""

    _operations: Operations

    def start_candidate(
        self,
        service: ServiceResponse | str,
        *,
        image: Image | str | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Poller[ProposedChange]:
        """Start a candidate from an image; it replaces the existing candidate of the service.

        Args:
            service: the service.
            image: the image, or its id (default: that of the service).
            **settings: settings to change, see `ServiceSettings`; the others are those of the service.

        Raises:
            UsageError: a property exceeds a limit, or the server does not support candidates. Nothing was sent.
            ConflictError: no deployment serves, or the compute of the service has no room.
            NotFoundError: the service does not exist.
        """
        image_id = image.id if isinstance(image, Image) else image
        body = checked(ServiceUpdate, image_id=image_id, **settings_fields(**settings))
        service_id = self.id_of(service)
        check_candidates(self._transport)
        with known_image(self._transport, image_id):
            answer = self._transport.call("candidate_propose", id=service_id, body=body)
        return self._operations.started(answer, lambda candidate: self.change(service_id, candidate=candidate))

    def check_candidates(self) -> None:
        """Check that the server supports candidates.

        Raises:
            UsageError: it does not.
        """
        check_candidates(self._transport)

    def change(self, service: ServiceResponse | str, *, candidate: str | None = None) -> ProposedChange:
        """Return the change that is proposed for a service.

        Args:
            service: the service.
            candidate: id of the candidate (default: the current one).

        Raises:
            NotFoundError: the service does not exist, or it does not have this candidate.
            UsageError: the server does not support candidates.
        """
        service_id = self.id_of(service)
        check_candidates(self._transport)
        answer = self._transport.call("candidate_get", id=service_id, query={CANDIDATE_ID: candidate})
        return ProposedChange(self, decode(answer, Candidate))

    def promote(
        self,
        service: ServiceResponse | str,
        *,
        reason: str | None = None,
        evidence: str | None = None,
        keep_warm: float | None = None,
        candidate: str | None = None,
    ) -> Poller[Service]:
        """Promote the candidate of a service; see `ProposedChange.promote`."""
        texts = {"reason": reason, "evidence": evidence}
        for name, text in texts.items():
            _check_length(name, text)
        minutes = None if keep_warm is None else f"{_minutes(keep_warm):g}"
        service_id = self.id_of(service)
        check_candidates(self._transport)
        query = {**texts, "keepWarm": minutes, CANDIDATE_ID: candidate}
        answer = self._transport.call("candidate_promote", id=service_id, query=query)
        return self._operations.started(answer, self._updated)

    def discard(self, service: ServiceResponse | str, *, candidate: str | None = None) -> bool:
        """Discard the candidate of a service. Return False if it does not have it."""
        service_id = self.id_of(service)
        check_candidates(self._transport)
        answer = self._transport.call("candidate_discard", id=service_id, query={CANDIDATE_ID: candidate})
        return answer.status_code != 204

    def _updated(self, service_id: str) -> Service:
        # A kept-alive connection may still lead to an old replica, which answers its last request.
        self._transport.close()
        return self._get(service_id)


def _check_length(name: str, text: str | None) -> None:
    """Check a text of a promotion.

    Raises:
        UsageError: it is too long.
    """
    if text is not None and (problem := too_long(name, str(text))):
        raise UsageError(f"{name}: {problem}", field=name, fix="Shorten it.")


def _minutes(keep_warm: Any) -> float:
    """Return the minutes for which replicas are kept.

    Raises:
        UsageError: they are not valid.
    """
    if is_number(keep_warm) and 0 < keep_warm <= MOST_WARM_MINUTES:
        return float(keep_warm)
    raise UsageError(
        f"keep_warm: {keep_warm!r} is not a number of minutes",
        field="keep_warm",
        fix=f"Give minutes above 0, at most {MOST_WARM_MINUTES:,}.",
    )
