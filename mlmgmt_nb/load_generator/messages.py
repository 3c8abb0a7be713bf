"""What goes into the program, and what comes out of it: a plan, and batches of results."""

from __future__ import annotations

import msgspec

__all__ = ["Batch", "Outcome", "Plan", "Target"]


class Target(msgspec.Struct):
    """A scoring URL, its key, and more header lines of its requests."""

    url: str
    key: str | None = None
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Target {self.url}>"


class Plan(msgspec.Struct):
    """The work of one process.

    Attributes:
        target: where the requests go.
        against: where each goes as well, to compare the answers; None for no other service.
        bodies: of the cases; request `n` has body `n % len(bodies)`.
        first, step: its requests are `first`, `first + step` and so on.
        requests: numbers stay below this; None for no end.
        connections: how many requests are under way at the same time.
        duration: seconds after which no more are sent.
        rate: requests due in a second, those of all processes together.
        timeout: seconds until an answer counts as missing.
        alternates: each connection alternates which of the two targets is asked first, so that neither is favored.
            Needs `against`, and no rate.
    """

    target: Target
    bodies: list[bytes]
    against: Target | None = None
    first: int = 0
    step: int = 1
    requests: int | None = None
    connections: int = 1
    duration: float | None = None
    rate: float | None = None
    timeout: float = 60.0
    alternates: bool = False


class Outcome(msgspec.Struct, array_like=True, frozen=True):
    """The result of a request without its latency. Status 0 means no response; the content then gives the reason.

    Attributes:
        case: number of the case.
        status, content: the service's answer.
        other_status, other_content: that of the service to compare with; -1 when it was not asked.
    """

    case: int
    status: int
    content: bytes
    other_status: int = -1
    other_content: bytes = b""


class Batch(msgspec.Struct, array_like=True):
    """Results since the batch before: a column each, as an array of machine values.

    Attributes:
        at: seconds after the start when they were due, or sent without a rate (`d`).
        seconds: from then until the answer was there (`d`).
        outcomes: each one's place among all different outcomes of this process (`q`).
        ids: request ids, a line each.
        other_seconds: what the service to compare with took, where it was asked (`d`).
        new: the outcomes that come first in this batch, in the order of their places.
        cpu, clock: seconds since the start, of CPU and of the clock.
        late: most seconds by which this program was late to send a request.
        ended: whether this is the last batch.
    """

    at: bytes
    seconds: bytes
    outcomes: bytes
    ids: str
    other_seconds: bytes
    new: list[Outcome]
    cpu: float
    clock: float
    late: float
    ended: bool
