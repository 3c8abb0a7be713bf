"""The requests that a candidate receives: a share of the requests to its service, or copies of them.

A canary routes a share of the requests to the candidate, in steps, with conditions that end it. A mirror sends it
copies of requests, and keeps both answers for a comparison.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlmgmt_nb.contract.limits import matching
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import UtcTime, Wire

__all__ = [
    *("MOST_MINUTES", "Answers", "AnswersOfBoth", "Canary", "CanaryRequest", "CanaryStep", "falling_step"),
    *("Mirror", "MirrorRequest", "MirroredPair", "MirroredPairs"),
]

Percent = Annotated[float, Meta(ge=0.01, le=100, description="Percentage of the requests.")]


MOST_MINUTES = 525_600
"""Maximum minutes of a step of a canary: a year."""


class CanaryStep(Wire, frozen=True, kw_only=True):
    """A step of a canary."""

    share: Percent
    minutes: Annotated[float, Meta(ge=0, le=MOST_MINUTES, description="Minutes until the next step, at least.")] = 0


class CanaryRequest(Wire, frozen=True, kw_only=True):
    """A share of the requests for the candidate, in steps, and the conditions that end it."""

    steps: Annotated[list[CanaryStep], Meta(min_length=1, max_length=20, description="The steps, in their order.")]
    header: Annotated[
        Annotated[str, Meta(pattern=matching("[A-Za-z0-9-]{1,64}"))] | None,
        Meta(description="Header by whose value requests are assigned; those without it, and null, each by itself."),
    ] = None
    max_errors: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Largest share of errors above that of the current deployment; null for any."),
    ] = 0.01
    max_p95: Annotated[
        Annotated[float, Meta(ge=0.01)] | None,
        Meta(description="Largest 95th percentile of latencies, as a multiple of the current one; null for any."),
    ] = 2.0
    min_agree: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Least share of the candidate's answers that the current one gives too; null for any."),
    ] = None
    tolerance: Annotated[float, Meta(ge=0, description="Difference up to which two numbers are the same.")] = 0.0


def falling_step(steps: Sequence[CanaryStep]) -> int | None:
    """Return the number of the first step with a smaller share than the step before it, from 0; None without one."""
    shares = [step.share for step in steps]
    return next((number for number in range(1, len(shares)) if shares[number] < shares[number - 1]), None)


class Answers(Wire, frozen=True, kw_only=True):
    """The answers of a deployment during a canary."""

    requests: Annotated[int, Meta(description="Number of requests.")] = 0
    errors: Annotated[int, Meta(description="Number of those with a status of 500 or above, or without an answer.")] = 0
    refused: Annotated[int, Meta(description="Number of those with a status from 400 to 499, without 401.")] = 0
    abandoned: Annotated[int, Meta(description="Number of those whose callers disconnected before the answer.")] = 0
    p95: Annotated[float | None, Meta(description="95th percentile of the latencies in seconds.")] = None
    latencies: Annotated[
        dict[str, int], Meta(description="Number of answers by latency: the upper bound of each bucket in seconds.")
    ] = {}


class AnswersOfBoth(Wire, frozen=True, kw_only=True):
    """The answers of both deployments in a part of a canary."""

    old: Annotated[Answers, Meta(description="Answers of the current deployment.")] = Answers()
    new: Annotated[Answers, Meta(description="Answers of the candidate.")] = Answers()
    compared: Annotated[int, Meta(description="Answers of the candidate that were compared.")] = 0
    same: Annotated[int, Meta(description="Those that the current deployment gives too.")] = 0


class Canary(CanaryRequest, frozen=True, kw_only=True):
    """A canary and its state.

    Attributes:
        state: `Running`; `Waiting`, if its time is over but the traffic is not sufficient for a verdict; `Passed`,
            after its last step; `TakenBack`, if it was worse; `Stopped`, by a request or because the service changed.
        step: number of the current step, from 0.
        step_since: start time of the step.
        step_requests: number of requests that the candidate has answered in the step.
        reason: the values that led to the verdict, or that are not sufficient for one.
        old, new: the answers of the current deployment and of the candidate.
        compared, same: number of candidate answers that were compared with answers of the current deployment to copies
            of the same requests, and the number of equal answers.
        recent: the newest answers of the step, in one or two parts. The verdict is on these.
    """

    state: Annotated[
        Literal["Running", "Waiting", "Passed", "TakenBack", "Stopped"], Meta(description="State of the canary.")
    ] = "Running"
    step: Annotated[int, Meta(description="Number of the current step, from 0.")] = 0
    step_since: Annotated[UtcTime | None, Meta(description="Start of the current step.")] = None
    step_requests: Annotated[int, Meta(description="Requests that the candidate has answered since.")] = 0
    reason: Annotated[str, Meta(description="The values that decided, or those that do not suffice.")] = ""
    old: Annotated[Answers, Meta(description="Answers of the current deployment.")] = Answers()
    new: Annotated[Answers, Meta(description="Answers of the candidate.")] = Answers()
    compared: Annotated[int, Meta(description="Answers of the candidate that were compared.")] = 0
    same: Annotated[int, Meta(description="Those that the current deployment gives too.")] = 0
    recent: Annotated[
        list[AnswersOfBoth], Meta(description="The newest answers of the step, which decide, in one or two parts.")
    ] = []

    @property
    def share(self) -> float:
        """The current percentage of the requests that the candidate answers."""
        return self.steps[self.step].share if self.is_active else 0.0

    @property
    def is_active(self) -> bool:
        """Whether the candidate receives requests."""
        return self.state in {"Running", "Waiting", "Passed"}


class MirrorRequest(Wire, frozen=True, kw_only=True):
    """A share of the requests whose copies the candidate also answers, for a limited time."""

    minutes: Annotated[float, Meta(gt=0, le=1440, description="Minutes until it ends.")] = 10
    share: Percent = 100
    requests: Annotated[int, Meta(ge=1, le=100_000, description="Number of copies after which it ends.")] = 10_000


class Mirror(MirrorRequest, frozen=True, kw_only=True):
    """A mirror and its state.

    Attributes:
        state: `Running`; `Ended`, after its time or its number of copies; `Stopping` for a few seconds, and then
            `Stopped`, by a request or because the service changed.
        since: start time.
        pairs: number of copies that were answered, and whose pairs of answers are kept.
        dropped: number of requests that were not copied because the candidate had not answered earlier copies yet.
        skipped: number of requests that were not kept because they, or an answer, were too large or not redactable.
        bytes: size of the kept answers.
        reason: the reason why it ended.
    """

    state: Annotated[Literal["Running", "Ended", "Stopping", "Stopped"], Meta(description="State of the mirror.")] = (
        "Running"
    )
    since: Annotated[UtcTime | None, Meta(description="Start of the mirror.")] = None
    pairs: Annotated[int, Meta(description="Number of kept pairs of answers.")] = 0
    dropped: Annotated[int, Meta(description="Requests without a copy, because the candidate was busy.")] = 0
    skipped: Annotated[int, Meta(description="Requests without a copy, because they or an answer were too large.")] = 0
    bytes: Annotated[int, Meta(description="Size of the kept answers.")] = 0
    reason: Annotated[str, Meta(description="Reason of its end.")] = ""

    @property
    def is_active(self) -> bool:
        """Whether requests are copied."""
        return self.state == "Running"

    @property
    def has_results(self) -> bool:
        """Whether further pairs may follow."""
        return self.state in {"Running", "Stopping"}


class MirroredPair(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The two answers to a request.

    Attributes:
        request_id: id of the request at the current deployment, which is also in the log; "" if the response had none.
        status, answer, seconds: status, body and latency of the candidate. Status 0 means that it did not respond, and
            the body has the reason.
        old_status, old_answer, old_seconds: status, body and latency of the current deployment, which the caller
            received.
    """

    request_id: Annotated[str, Meta(description="Id of the request at the current deployment.")]
    status: Annotated[int, Meta(description="Status of the candidate; 0 if it did not respond.")]
    answer: Annotated[bytes, Meta(description="Body of the candidate, or the reason why it did not respond.")]
    seconds: Annotated[float, Meta(description="Latency of the candidate.")]
    old_status: Annotated[int, Meta(description="Status of the current deployment.")]
    old_answer: Annotated[bytes, Meta(description="Body of the current deployment.")]
    old_seconds: Annotated[float, Meta(description="Latency of the current deployment.")]


class MirroredPairs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the pairs of a mirror, in the order of the requests.

    Attributes:
        value: the pairs.
        has_more: whether more pairs follow.
    """

    value: Annotated[list[MirroredPair], Meta(description="The pairs.")]
    has_more: Annotated[bool, Meta(description="Whether others follow.")]


resolve(Canary, CanaryRequest, Mirror, MirrorRequest, MirroredPair, MirroredPairs)
