"""Send the same requests to two scoring URLs, and compare the answers.

A separate process sends them (see `mlmgmt_nb.load_generator`). Each request goes to both, one after the other; the side
that is first alternates, so that neither is favored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

from mlmgmt_nb.client.bodies import check_keywords
from mlmgmt_nb.client.replays.pairs import Pairs
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.client.scoring_tests.options import check_options
from mlmgmt_nb.client.scoring_tests.processes import Load
from mlmgmt_nb.contract.recording import COPY_HEADER
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.load_generator.messages import Plan, Target

__all__ = ["Endpoint", "ReplayOptions", "replay"]

_STOP_SECONDS = 3.0
_STEP_SECONDS = 0.1


def _unknown() -> None:
    """Return nothing: the memory of a URL is not known."""


@dataclass(frozen=True)
class Endpoint:
    """One of the two sides of a replay.

    Attributes:
        name: for displays.
        url: its scoring URL.
        key: its key; None if it needs none.
        memory: returns the bytes of memory of a replica; None if they are not known.
    """

    name: str
    url: str
    key: str | None = None
    memory: Callable[[], int | None] = _unknown

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} at {self.url}>"


class ReplayOptions(TypedDict, total=False):
    """Options for sending the requests of a replay.

    Attributes:
        tolerance: relative or absolute difference up to which two numbers are equal (default: 0).
        concurrency: number of requests at the same time (default: 1).
        timeout: seconds after which a request counts as unanswered (default: 60).
    """

    tolerance: float
    concurrency: int
    timeout: float


def replay(
    old: Endpoint,
    new: Endpoint,
    bodies: Sequence[bytes],
    *,
    on_progress: Callable[[ReplayReport], None] | None = None,
    **options: Unpack[ReplayOptions],
) -> ReplayReport:
    """Send each body to both sides, and return the comparison. An interrupt ends the replay and keeps the results so
    far.

    Args:
        old, new: the two sides.
        bodies: bodies of the requests; each is sent once to each side.
        on_progress: called several times a second with the report so far.
        **options: see `ReplayOptions`.

    Raises:
        UsageError: the list of bodies is empty, or an option is out of range. Nothing was sent.
        MlmgmtError: the requests could not be sent at all.
    """
    check_keywords("replay", options, ReplayOptions.__annotations__)
    check_options(options)
    if not bodies:
        raise UsageError(
            "the list of requests to replay is empty", field="cases", fix="Give cases, or record requests first."
        )
    pairs = Pairs(options.get("tolerance", 0.0))
    report = ReplayReport(pairs, old=old.name, new=new.name, goal=len(bodies))
    with Load([_plan(old, new, bodies, options)]) as load:
        try:
            while not load.is_over:
                _take(load, pairs)
                if on_progress is not None:
                    on_progress(report)
        except KeyboardInterrupt:
            _stop(load, pairs)
    report.memory, report.old_memory = new.memory(), old.memory()
    return report


def _plan(old: Endpoint, new: Endpoint, bodies: Sequence[bytes], options: ReplayOptions) -> Plan:
    headers = {COPY_HEADER: "replay"}
    return Plan(
        Target(new.url, new.key, headers),
        list(bodies),
        Target(old.url, old.key, headers),
        requests=len(bodies),
        connections=min(options.get("concurrency", 1), len(bodies)),
        timeout=options.get("timeout", 60.0),
        alternates=True,
    )


def _take(load: Load, pairs: Pairs) -> None:
    if (arrived := load.next(_STEP_SECONDS)) is not None:
        pairs.add(arrived[1])


def _stop(load: Load, pairs: Pairs) -> None:
    """Collect the results that are still arriving."""
    load.stop()
    deadline = time.monotonic() + _STOP_SECONDS
    while not load.is_over and time.monotonic() < deadline:
        _take(load, pairs)
