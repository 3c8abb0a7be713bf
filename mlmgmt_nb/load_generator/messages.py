"""The input and output of the program: a plan, and batches of results."""

from __future__ import annotations

import msgspec

__all__ = ["Batch", "Outcome", "Plan", "Target"]


class Target(msgspec.Struct):
    """A scoring URL, its key, and additional header lines of the requests."""

    url: str
    key: str | None = None
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Target {self.url}>"


class Plan(msgspec.Struct):
    """The work of one process.

    Attributes:
        target: the service that gets the requests.
        against: the service that also gets each request, to compare the answers; None for no comparison.
        bodies: bodies of the cases; request `n` has body `n % len(bodies)`.
        first, step: the process sends requests `first`, `first + step` and so on.
        requests: upper limit of the numbers of requests; None for no limit.
        connections: number of requests in flight at the same time.
        duration: seconds after which no more requests are sent.
        rate: target requests per second of all processes together.
        timeout: seconds after which an answer counts as missing.
        alternates: whether each connection alternates between the targets that it calls first, so that neither is
            favored. Needs `against`, and no rate.
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
        other_status, other_content: the answer of the service to compare with; status -1 if it was not called.
    """

    case: int
    status: int
    content: bytes
    other_status: int = -1
    other_content: bytes = b""


class Batch(msgspec.Struct, array_like=True):
    """Results since the previous batch, by column: arrays of machine values.

    Attributes:
        at: seconds from the start until each request was due, or without a rate until it was sent (`d`).
        seconds: seconds from then until the answer (`d`).
        outcomes: index of each result in the list of distinct outcomes of this process (`q`).
        ids: request ids, one per line.
        other_seconds: latency of the service to compare with, if it was called (`d`).
        new: distinct outcomes that are new in this batch, in the order of their index.
        cpu, clock: seconds since the start: CPU time and elapsed time.
        late: maximum delay in seconds with which this program sent a request.
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
