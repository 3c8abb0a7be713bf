"""Live traffic of candidates: the share of a service's requests that they answer, and the copies that they get."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from mlmgmt_nb.client.bodies import checked
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.scoring_tests.options import check_options
from mlmgmt_nb.client.services.changes import ServiceChanges
from mlmgmt_nb.client.services.replaying import ServiceReplays
from mlmgmt_nb.client.services.support import check_candidates
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.contract.changes import CANDIDATE_ID, Candidate
from mlmgmt_nb.contract.traffic import (
    CanaryRequest,
    CanaryStep,
    MirroredPair,
    MirroredPairs,
    MirrorRequest,
    falling_step,
)
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.load_generator.messages import Outcome

if TYPE_CHECKING:
    from mlmgmt_nb.client.replays.report import ReplayReport

__all__ = ["CandidateTraffic", "ServiceTraffic"]


class ServiceTraffic(ServiceReplays, ServiceChanges):
    """Start and stop canaries and mirrors."""

    def start_canary(
        self, service: ServiceResponse | str, canary: CanaryRequest, *, candidate: str | None = None
    ) -> Candidate:
        """Start the canary of a service; see `ProposedChange.canary`."""
        return self._change_traffic("candidate_canary", service, candidate, canary)

    def stop_canary(self, service: ServiceResponse | str, *, candidate: str | None = None) -> Candidate:
        """Stop the canary of a service; see `ProposedChange.stop_canary`."""
        return self._change_traffic("candidate_stop_canary", service, candidate)

    def start_mirror(
        self, service: ServiceResponse | str, mirror: MirrorRequest, *, candidate: str | None = None
    ) -> Candidate:
        """Start the mirror of a service; see `ProposedChange.mirror`."""
        return self._change_traffic("candidate_mirror", service, candidate, mirror)

    def stop_mirror(self, service: ServiceResponse | str, *, candidate: str | None = None) -> Candidate:
        """Stop the mirror of a service; see `ProposedChange.stop_mirror`."""
        return self._change_traffic("candidate_stop_mirror", service, candidate)

    def _change_traffic(
        self, operation: str, service: ServiceResponse | str, candidate: str | None, body: Any = None
    ) -> Candidate:
        """Start or stop a canary or a mirror.

        Args:
            candidate: id of the candidate; None for the current one, whichever it is.
        """
        service_id = self.id_of(service)
        check_candidates(self._transport)
        answer = self._transport.call(operation, id=service_id, query={CANDIDATE_ID: candidate}, body=body)
        return decode(answer, Candidate)

    def mirror_report(self, candidate: Candidate, tolerance: float = 0.0) -> ReplayReport:
        """Compare the answers of the mirror of a candidate; see `ProposedChange.mirror_report`."""
        from mlmgmt_nb.client.replays.pairs import Pairs  # not needed to deploy
        from mlmgmt_nb.client.replays.report import ReplayReport

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
        old, new = service.name or "", candidate.name or ""
        report = ReplayReport(pairs, old=old, new=new, goal=len(found), kind="mirror")
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


class CandidateTraffic:
    """Methods that let a candidate answer requests of its service.

    Attributes:
        candidate: the last description of the candidate from the server.
    """

    def __init__(self, services: ServiceTraffic, candidate: Candidate) -> None:
        self._services = services
        self.candidate = candidate

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
    ) -> Self:
        """Let the candidate answer a share of the requests of the service. The canary ends by itself if the candidate
        is worse.

        The share is exact, and refers to requests, not to connections. With several shares, a step ends when its time
        is over and its own requests show that the candidate is good enough; until there are enough requests, it
        continues. Both deployments have to answer some: with a share of 100 from the beginning, there is nothing to
        compare with, and only a candidate that fails most requests is worse.
        `candidate.canary` has the state, the counts and the reason; see `refresh`.

        Example:
            >>> change = ws.services.propose("iris", max_concurrent_requests=20)
            >>> change.canary([5, 25, 100], minutes=10).candidate.canary.share
            5.0
            >>> change.discard()
            True

        Args:
            share: percentage of the requests, or the percentages of several steps. The last one remains in effect.
            minutes: minutes of each step.
            header: a header; requests with the same value go to the same deployment (default: each request is assigned
                by itself, as are requests without the header).
            max_errors: maximum share of errors, and of refused requests, above that of the current deployment; None for
                any.
            max_p95: maximum 95th percentile of latencies, as a multiple of that of the current deployment; None for
                any.
            min_agree: minimum share of its answers that equal those of the current deployment, from 0 to 1; a request
                that only one of both refuses has no equal answers. The current deployment gets copies of these
                requests, with the header `x-mlmgmt-copy: mirror`. None for any, without copies.
            tolerance: relative or absolute difference up to which two numbers in these answers are equal.

        Raises:
            UsageError: an argument is wrong. Nothing was sent.
            ConflictError: the candidate does not run, or another operation on the service is running.
            NotFoundError: it was promoted, discarded or replaced, or its time is over.
        """
        steps = [CanaryStep(share=one, minutes=minutes) for one in _shares(share)]
        body = checked(
            CanaryRequest,
            steps=steps,
            header=header,
            max_errors=max_errors,
            max_p95=max_p95,
            min_agree=min_agree,
            tolerance=tolerance,
        )
        if (place := falling_step(body.steps)) is not None:
            raise UsageError(
                f"steps[{place}].share: {body.steps[place].share:g} is less than in the step before it",
                field="share",
                fix="Give percentages in ascending order, such as `[5, 25, 100]`.",
            )
        self.candidate = self._services.start_canary(self._service_id, body, candidate=self._candidate_id)
        return self

    def stop_canary(self) -> Self:
        """Stop the canary: the candidate answers no further requests of the service."""
        self.candidate = self._services.stop_canary(self._service_id, candidate=self._candidate_id)
        return self

    def mirror(self, minutes: float = 10, *, share: float = 100, requests: int = 10_000) -> Self:
        """Send copies of the service's requests to the candidate, after their callers have been answered.

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
            NotFoundError: it was promoted, discarded or replaced, or its time is over.
        """
        body = checked(MirrorRequest, minutes=minutes, share=share, requests=requests)
        self.candidate = self._services.start_mirror(self._service_id, body, candidate=self._candidate_id)
        return self

    def stop_mirror(self) -> Self:
        """Stop the mirror: the candidate gets no further copies. Results so far are kept."""
        self.candidate = self._services.stop_mirror(self._service_id, candidate=self._candidate_id)
        return self

    @property
    def _service_id(self) -> str:
        return self.candidate.service_id or ""

    @property
    def _candidate_id(self) -> str | None:
        """The id that the server compares: another proposal may have replaced this candidate."""
        return self.candidate.id


def _shares(share: Any) -> Sequence[Any]:
    """Return the shares of the steps.

    Raises:
        UsageError: it is neither a number nor a sequence.
    """
    if isinstance(share, numbers.Real):  # `checked` refuses those that are not finite
        return [share]
    if isinstance(share, Iterable) and not isinstance(share, str | bytes):
        return list(share)
    raise UsageError(
        f"share: {share!r} is not a percentage",
        field="share",
        fix="Give a percentage from 0.01 to 100, or a list of them, such as `[5, 25, 100]`.",
    )
