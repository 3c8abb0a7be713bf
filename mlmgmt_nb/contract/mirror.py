"""Mirrors: copies of the requests of a service also go to its candidate, and both answers are kept to be compared."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlmgmt_nb.contract.canary import Percent
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import UtcTime, Wire

__all__ = ["Mirror", "MirrorRequest", "MirroredPair", "MirroredPairs"]


class MirrorRequest(Wire, frozen=True, kw_only=True):
    """A share of the requests whose copies the candidate also answers, for a limited time."""

    minutes: Annotated[float, Meta(gt=0, le=1440, description="Minutes until it ends.")] = 10
    share: Percent = 100
    requests: Annotated[int, Meta(ge=1, le=100_000, description="Number of copies after which it ends.")] = 10_000


class Mirror(MirrorRequest, frozen=True, kw_only=True):
    """A mirror and its state.

    Attributes:
        state: `Running`; `Ended`, after its time or its number of copies; `Stopped`, by a request or because the
            service changed.
        since: when it began.
        pairs: copies that were answered, whose pairs of answers are kept.
        dropped: requests that were not copied because the candidate had not answered earlier copies yet.
        skipped: requests that were not copied because they, or an answer, were too large or could not be redacted.
        bytes: size of the kept answers.
        reason: why it ended.
    """

    state: Annotated[Literal["Running", "Ended", "Stopped"], Meta(description="State of the mirror.")] = "Running"
    since: Annotated[UtcTime | None, Meta(description="When it began.")] = None
    pairs: Annotated[int, Meta(description="Number of kept pairs of answers.")] = 0
    dropped: Annotated[int, Meta(description="Requests without a copy, because the candidate was busy.")] = 0
    skipped: Annotated[int, Meta(description="Requests without a copy, because they or an answer were too large.")] = 0
    bytes: Annotated[int, Meta(description="Size of the kept answers.")] = 0
    reason: Annotated[str, Meta(description="Why it ended.")] = ""

    @property
    def is_active(self) -> bool:
        """Whether requests are copied."""
        return self.state == "Running"


class MirroredPair(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The two answers to a request.

    Attributes:
        request_id: its id at the current deployment, which is also in the log; "" if the response had none.
        status, answer, seconds: status, body and latency of the candidate. Status 0 means that it did not respond: then
            the body has the reason.
        old_status, old_answer, old_seconds: those of the current deployment, which the caller got.
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
        has_more: whether others follow.
    """

    value: Annotated[list[MirroredPair], Meta(description="The pairs.")]
    has_more: Annotated[bool, Meta(description="Whether others follow.")]


resolve(Mirror, MirrorRequest, MirroredPair, MirroredPairs)
