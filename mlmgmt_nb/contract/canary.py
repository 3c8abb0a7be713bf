"""Canaries: a share of the requests of a service goes to its candidate, step by step, and is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from mlmgmt_nb.contract.limits import matching
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import UtcTime, Wire

__all__ = ["Answers", "Canary", "CanaryRequest", "CanaryStep", "Percent"]

Percent = Annotated[float, Meta(ge=0.01, le=100, description="Percentage of the requests.")]


class CanaryStep(Wire, frozen=True, kw_only=True):
    """A step of a canary."""

    share: Percent
    minutes: Annotated[float, Meta(ge=0, description="Minutes until the next step, at least.")] = 0


class CanaryRequest(Wire, frozen=True, kw_only=True):
    """A share of the requests for the candidate, in steps, and the conditions that end it."""

    steps: Annotated[list[CanaryStep], Meta(min_length=1, max_length=20, description="The steps, in their order.")]
    header: Annotated[
        Annotated[str, Meta(pattern=matching("[A-Za-z0-9-]{1,64}"))] | None,
        Meta(description="Header whose value decides, so that a caller stays; null to decide by request."),
    ] = None
    max_errors: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Largest share of errors above that of the current deployment; null for any."),
    ] = 0.01
    max_p95: Annotated[
        Annotated[float, Meta(ge=0.01)] | None,
        Meta(description="Largest 95th percentile of latencies, as a multiple of the current one; null for any."),
    ] = 2.0


class Answers(Wire, frozen=True, kw_only=True):
    """The answers of a deployment during a canary."""

    requests: Annotated[int, Meta(description="Number of requests.")] = 0
    errors: Annotated[int, Meta(description="Number of those with a status of 500 or above, or without an answer.")] = 0
    p95: Annotated[float | None, Meta(description="95th percentile of the latencies in seconds.")] = None
    latencies: Annotated[
        dict[str, int], Meta(description="Number of answers by latency: the upper bound of each bucket in seconds.")
    ] = {}


class Canary(CanaryRequest, frozen=True, kw_only=True):
    """A canary and its state.

    Attributes:
        state: `Running`; `Waiting`, if its time is over and its traffic does not decide yet; `Passed`, after its last
            step; `TakenBack`, when it was worse; `Stopped`, by a request or because the service changed.
        step: number of the current step, from 0.
        step_since: when it began.
        step_requests: requests that the candidate has answered since.
        reason: the values that decided, or those that do not suffice.
        old, new: the answers of the current deployment and of the candidate.
    """

    state: Annotated[
        Literal["Running", "Waiting", "Passed", "TakenBack", "Stopped"], Meta(description="State of the canary.")
    ] = "Running"
    step: Annotated[int, Meta(description="Number of the current step, from 0.")] = 0
    step_since: Annotated[UtcTime | None, Meta(description="When it began.")] = None
    step_requests: Annotated[int, Meta(description="Requests that the candidate has answered since.")] = 0
    reason: Annotated[str, Meta(description="The values that decided, or those that do not suffice.")] = ""
    old: Annotated[Answers, Meta(description="Answers of the current deployment.")] = Answers()
    new: Annotated[Answers, Meta(description="Answers of the candidate.")] = Answers()

    @property
    def share(self) -> float:
        """The current percentage of the requests that the candidate answers."""
        return self.steps[self.step].share if self.is_active else 0.0

    @property
    def is_active(self) -> bool:
        """Whether the candidate gets requests."""
        return self.state in {"Running", "Waiting", "Passed"}


resolve(Canary, CanaryRequest)
