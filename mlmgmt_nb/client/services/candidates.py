"""Candidates of services: proposed deployments that run beside the one that serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from mlmgmt_nb.client.bodies import ServiceSettings, checked, settings_fields
from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.replays.pairs import Pairs
from mlmgmt_nb.client.replays.replay import ReplayOptions
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.client.scoring_tests.gate import Condition, passed
from mlmgmt_nb.client.scoring_tests.options import LoadOptions, check_options
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.services.changes import ServiceChanges
from mlmgmt_nb.client.services.replaying import ServiceReplays
from mlmgmt_nb.client.services.support import check_candidates
from mlmgmt_nb.contract import Image, ServiceResponse
from mlmgmt_nb.contract.changes import Candidate
from mlmgmt_nb.contract.extensions import Service, ServiceUpdate
from mlmgmt_nb.contract.traffic import CanaryRequest, CanaryStep, MirroredPair, MirroredPairs, MirrorRequest
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.load_generator.messages import Outcome
from mlmgmt_nb.short_repr import cut

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ProposedChange", "ServiceCandidates"]


class ProposedChange:
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
        candidate: the candidate as the server described it last; see `refresh`.
    """

    def __init__(self, services: ServiceCandidates, candidate: Candidate) -> None:
        self._services = services
        self.candidate = candidate

    @property
    def name(self) -> str:
        """The name of the service."""
        return (self.candidate.name or "").partition("/")[0]

    @property
    def url(self) -> str:
        """The scoring URL of the candidate, for the keys of the service."""
        return self.candidate.scoring_uri or ""

    @property
    def expires_at(self) -> Any:
        """The time at which the candidate is removed."""
        return self.candidate.expires_at

    @cached_property
    def diff(self) -> Difference:
        """The differences from the deployment that serves, as `services.diff` returns them."""
        return self._services.diff(self._services.get(self._service_id), self.candidate)

    def refresh(self) -> ProposedChange:
        """Get the candidate from the server again.

        Raises:
            NotFoundError: it was promoted or discarded, or its time is over.
        """
        self.candidate = self._services.change(self._service_id).candidate
        return self

    def run(self, data: Any, *, timeout: float = 60.0) -> Any:
        """Score data with the candidate, as `services.run` does with the service.

        Args:
            data: as that of `services.run`.
            timeout: maximum seconds to wait for the answer.
        """
        return self._services.run(self.candidate.id or "", data, timeout=timeout)

    def test(self, cases: pd.DataFrame | Sequence[Any], **options: Unpack[LoadOptions]) -> ScoringReport:
        """Send cases to both, and compare the answers of the candidate with those of the service.

        Args:
            cases: as those of `services.test`.
            **options: see `LoadOptions`.
        """
        return self._services.test(self.candidate.id or "", cases, against=self._service_id, **options)

    def replay(
        self,
        cases: pd.DataFrame | Sequence[Any] | None = None,
        *,
        last: int = 1000,
        **options: Unpack[ReplayOptions],
    ) -> ReplayReport:
        """Send recorded requests of the service, or cases, to both, and compare the answers pair by pair.

        Args:
            cases: as those of `services.replay`; None for the requests that the service recorded.
            last: number of recorded requests, the newest.
            **options: see `ReplayOptions`.

        Raises:
            UsageError: the cases are empty, or nothing was recorded. Nothing was sent.
        """
        return self._services.replay(self._service_id, self.candidate.id or "", cases=cases, last=last, **options)

    def canary(
        self,
        share: float | Sequence[float],
        *,
        minutes: float = 0,
        header: str | None = None,
        max_errors: float | None = 0.01,
        max_p95: float | None = 2.0,
        min_agree: float | None = None,
        tolerance: float = 0.0,
    ) -> ProposedChange:
        """Let the candidate answer a share of the requests of the service. It is taken back by itself if it is worse.

        The share is exact, and of requests, not of connections. With several shares, a step ends when its time is over
        and its requests show that the candidate is good enough; without enough requests, it waits.
        `candidate.canary` has the state, the counts and the reason; see `refresh`.

        Example:
            >>> change = ws.services.propose("iris", max_concurrent_requests=20)
            >>> change.canary([5, 25, 100], minutes=10).candidate.canary.share
            5.0
            >>> change.discard()
            True

        Args:
            share: percentage of the requests, or those of several steps. The last one stays.
            minutes: minutes of each step.
            header: the header whose value decides, so that a caller stays (default: by request).
            max_errors: largest share of errors above that of the current deployment; None for any.
            max_p95: largest 95th percentile of latencies, as a multiple of the current one; None for any.
            min_agree: least share of its answers that the current deployment gives too, from 0 to 1. That one gets
                copies of these requests, with the header `x-mlmgmt-copy: mirror`. None for any, without copies.
            tolerance: relative or absolute difference up to which two numbers of these answers are the same.

        Raises:
            UsageError: an argument is wrong. Nothing was sent.
            ConflictError: the candidate does not run, or another operation on the service is running.
            NotFoundError: it was promoted or discarded, or its time is over.
        """
        shares = [share] if isinstance(share, int | float) else share
        body = checked(
            CanaryRequest,
            steps=[CanaryStep(share=one, minutes=minutes) for one in shares],
            header=header,
            max_errors=max_errors,
            max_p95=max_p95,
            min_agree=min_agree,
            tolerance=tolerance,
        )
        self.candidate = self._services.start_canary(self._service_id, body)
        return self

    def stop_canary(self) -> ProposedChange:
        """Let the candidate answer no further requests of the service."""
        self.candidate = self._services.stop_canary(self._service_id)
        return self

    def mirror(self, minutes: float = 10, *, share: float = 100, requests: int = 10_000) -> ProposedChange:
        """Let the candidate also answer copies of the requests of the service, after their callers have been answered.

        Callers only get the answers of the current deployment. Copies have the header `x-mlmgmt-copy: mirror`, so that
        a driver can leave out side effects. A slow candidate gets fewer copies (`candidate.mirror.dropped`).
        `mirror_report` compares the answers.

        Example:
            >>> change = ws.services.propose("iris", max_concurrent_requests=20)
            >>> change.mirror(minutes=5, share=50).candidate.mirror.state
            'Running'
            >>> change.discard()
            True

        Args:
            minutes: minutes until it ends, at most 1,440.
            share: percentage of the requests.
            requests: number of copies after which it ends, at most 100,000.

        Raises:
            UsageError: an argument is wrong. Nothing was sent.
            ConflictError: the candidate does not run, it has a canary, or another operation on the service is running.
            NotFoundError: it was promoted or discarded, or its time is over.
        """
        body = checked(MirrorRequest, minutes=minutes, share=share, requests=requests)
        self.candidate = self._services.start_mirror(self._service_id, body)
        return self

    def stop_mirror(self) -> ProposedChange:
        """Let the candidate answer no further copies. What was compared stays."""
        self.candidate = self._services.stop_mirror(self._service_id)
        return self

    def mirror_report(self, *, tolerance: float = 0.0) -> ReplayReport:
        """Compare the answers of the mirror so far, pair by pair, as a replay does.

        Latencies of the current deployment are those during the mirror. Requests without a copy are `skipped`.

        Args:
            tolerance: relative or absolute difference up to which two numbers are equal.

        Raises:
            UsageError: no request has been mirrored.
            NotFoundError: the candidate was promoted or discarded, or its time is over.
        """
        return self._services.mirror_report(self.refresh().candidate, tolerance)

    def promote_if(
        self, gate: Condition, report: ReplayReport, *, reason: str | None = None, keep_warm: float | None = None
    ) -> Poller[Service]:
        """Promote it if a gate has passed, with the report as evidence. A gate that has failed discards it.

        Example:
            >>> change = ws.services.propose("iris", max_concurrent_requests=30)
            >>> report = change.replay(cases=[[[5.1, 3.5, 1.4, 0.2]]] * 20)
            >>> service = change.promote_if("errors == 0 and lost == 0", report).result()
            >>> "gate passed: errors == 0" in service.last_change.evidence
            True

        Args:
            gate: a condition or a function, as `ReplayReport.gate` takes it.
            report: of `replay` or `mirror_report`.
            reason: why, for the record of the change (default: the reason of the proposal).
            keep_warm: as that of `promote`.

        Raises:
            ScoringTestFailed: the gate has failed, and the candidate is discarded; or it is inconclusive, and the
                candidate still runs.
            ConflictError: it does not run, or another operation on the service is running.
        """
        verdict = report.gate(gate)
        if verdict.outcome == "failed":
            self.discard()
        return self.promote(reason=reason, evidence=report.evidence(passed(verdict, report)), keep_warm=keep_warm)

    def promote(
        self, *, reason: str | None = None, evidence: str | None = None, keep_warm: float | None = None
    ) -> Poller[Service]:
        """Make it the deployment that serves, under the URL and keys of the service.

        Its replicas are handed over as they are, unless their image was built by an earlier version of mlmgmt-nb: then
        new ones start first.

        Args:
            reason: why, for the record of the change (default: the reason of the proposal).
            evidence: `report.evidence()`, or where the evidence is, for the record of the change.
            keep_warm: minutes to keep the replicas that it replaces, with their reservation: a rollback takes them over
                at once. Another change, or a restart of the Model Management service, ends them.

        Raises:
            ConflictError: it does not run, another operation on the service is running, or `keep_warm` was given for a
                cluster or a change of secrets.
            NotFoundError: it was promoted or discarded before, or its time is over.
        """
        return self._services.promote(self._service_id, reason=reason, evidence=evidence, keep_warm=keep_warm)

    def discard(self) -> bool:
        """Remove the candidate and everything of it. Return False if it no longer exists."""
        return self._services.discard(self._service_id)

    @property
    def _service_id(self) -> str:
        return self.candidate.service_id or ""

    def __repr__(self) -> str:
        return f"ProposedChange({self.name!r}, state={self.candidate.state!r}, url={cut(repr(self.url), 110)})"


class ServiceCandidates(ServiceReplays, ServiceChanges):
    """Propose, promote and discard changes."""

    _operations: Operations

    def start_candidate(
        self,
        service: ServiceResponse | str,
        *,
        image: Image | str | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Poller[ProposedChange]:
        """Start a candidate from an image; it replaces the one that the service has.

        Args:
            service: the service.
            image: the image, or its id (default: that of the service).
            **settings: settings to change, see `ServiceSettings`; the others are those of the service.

        Raises:
            UsageError: a property exceeds a limit, or the server does not support candidates. Nothing was sent.
            ConflictError: nothing serves, or the compute of the service has no room.
            NotFoundError: the service does not exist.
        """
        image_id = image.id if isinstance(image, Image) else image
        body = checked(ServiceUpdate, image_id=image_id, **settings_fields(**settings))
        service_id = self.id_of(service)
        check_candidates(self._transport)
        answer = self._transport.call("candidate_propose", id=service_id, body=body)
        return self._operations.started(answer, lambda _: self.change(service_id))

    def check_candidates(self) -> None:
        """Check that the server supports candidates.

        Raises:
            UsageError: it does not.
        """
        check_candidates(self._transport)

    def change(self, service: ServiceResponse | str) -> ProposedChange:
        """Return the change that is proposed for a service.

        Args:
            service: the service.

        Raises:
            NotFoundError: the service does not exist, or it has no candidate.
            UsageError: the server does not support candidates.
        """
        service_id = self.id_of(service)
        check_candidates(self._transport)
        return ProposedChange(self, decode(self._transport.call("candidate_get", id=service_id), Candidate))

    def promote(
        self,
        service: ServiceResponse | str,
        *,
        reason: str | None = None,
        evidence: str | None = None,
        keep_warm: float | None = None,
    ) -> Poller[Service]:
        """Promote the candidate of a service; see `ProposedChange.promote`."""
        service_id = self.id_of(service)
        check_candidates(self._transport)
        query = {"reason": reason, "evidence": evidence, "keepWarm": None if keep_warm is None else f"{keep_warm:g}"}
        answer = self._transport.call("candidate_promote", id=service_id, query=query)
        return self._operations.started(answer, self._updated)

    def start_canary(self, service: ServiceResponse | str, canary: CanaryRequest) -> Candidate:
        """Start the canary of a service; see `ProposedChange.canary`."""
        check_candidates(self._transport)
        answer = self._transport.call("candidate_canary", id=self.id_of(service), body=canary)
        return decode(answer, Candidate)

    def stop_canary(self, service: ServiceResponse | str) -> Candidate:
        """Stop the canary of a service; see `ProposedChange.stop_canary`."""
        check_candidates(self._transport)
        return decode(self._transport.call("candidate_stop_canary", id=self.id_of(service)), Candidate)

    def start_mirror(self, service: ServiceResponse | str, mirror: MirrorRequest) -> Candidate:
        """Start the mirror of a service; see `ProposedChange.mirror`."""
        check_candidates(self._transport)
        answer = self._transport.call("candidate_mirror", id=self.id_of(service), body=mirror)
        return decode(answer, Candidate)

    def stop_mirror(self, service: ServiceResponse | str) -> Candidate:
        """Stop the mirror of a service; see `ProposedChange.stop_mirror`."""
        check_candidates(self._transport)
        return decode(self._transport.call("candidate_stop_mirror", id=self.id_of(service)), Candidate)

    def mirror_report(self, candidate: Candidate, tolerance: float = 0.0) -> ReplayReport:
        """Compare the answers of the mirror of a candidate; see `ProposedChange.mirror_report`."""
        check_options({"tolerance": tolerance})
        service = self._get(candidate.service_id or "")
        mirror, found = candidate.mirror, list(self._mirrored(service.id or ""))
        if mirror is None or not found:
            raise UsageError(
                f"no request of service {service.name!r} has been mirrored",
                field="mirror",
                fix="Wait for requests." if mirror else "Call `change.mirror(minutes=10)`, and wait for requests.",
            )
        pairs = Pairs(tolerance)
        for case, pair in enumerate(found):
            outcome = Outcome(case, pair.status, pair.answer, pair.old_status, pair.old_answer)
            pairs.add_pair(outcome, pair.seconds, pair.old_seconds)
        report = ReplayReport(pairs, old=service.name or "", new=candidate.name or "", goal=len(found))
        report.skipped = mirror.dropped + mirror.skipped
        report.memory, report.old_memory = self._memory(candidate), self._memory(service)
        return report

    def _mirrored(self, service_id: str) -> Iterator[MirroredPair]:
        read, has_more = 0, True
        while has_more:
            answer = self._transport.call("candidate_mirrored", id=service_id, query={"skip": str(read)})
            part = decode(answer, MirroredPairs)
            yield from part.value
            read, has_more = read + len(part.value), part.has_more

    def discard(self, service: ServiceResponse | str) -> bool:
        """Discard the candidate of a service. Return False if it has none."""
        service_id = self.id_of(service)
        check_candidates(self._transport)
        return self._transport.call("candidate_discard", id=service_id).status_code != 204

    def _updated(self, service_id: str) -> Service:
        # A kept-alive connection may still lead to an old replica, which answers its last request.
        self._transport.close()
        return self._get(service_id)
