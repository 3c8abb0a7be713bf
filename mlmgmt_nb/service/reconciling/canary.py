"""The judgment of a canary: a pure decision from its counts, repeated every round.

There are three verdicts. A candidate is worse if it is worse for all values in the confidence intervals (95 %), and
good enough if it is good enough for all of them; otherwise the verdict is unknown, and the canary waits. It is taken
back when the candidate is worse. A step ends when its time is over and the candidate is good enough.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from mlmgmt_nb import intervals
from mlmgmt_nb.contract.traffic import Answers, Canary

__all__ = ["Verdict", "added", "advance", "judge"]

_FEWEST = 20
"""Minimum number of requests for a verdict."""
_ALIKE_SECONDS = 0.005
"""Difference of latencies that callers do not notice."""

Outcome = Literal["good", "worse", "unknown"]


class Verdict(NamedTuple):
    """An outcome, and the values that led to it."""

    outcome: Outcome
    reason: str


def advance(canary: Canary, now: dt.datetime) -> Canary:
    """Return the next state of a canary, from its counts."""
    if not canary.is_active:
        return canary
    verdict = judge(canary)
    if verdict.outcome == "worse":
        return _with(canary, "TakenBack", verdict.reason)
    if canary.state == "Passed":
        return canary
    elapsed = (now - (canary.step_since or now)).total_seconds() / 60
    if elapsed < canary.steps[canary.step].minutes:
        return _with(canary, "Running", verdict.reason)
    if verdict.outcome == "unknown":
        return _with(canary, "Waiting", verdict.reason)
    if canary.step + 1 < len(canary.steps):
        moved = msgspec.structs.replace(canary, step=canary.step + 1, step_since=now, step_requests=0)
        return _with(moved, "Running", verdict.reason)
    return _with(canary, "Passed", verdict.reason)


def _with(canary: Canary, state: Literal["Running", "Waiting", "Passed", "TakenBack"], reason: str) -> Canary:
    return msgspec.structs.replace(canary, state=state, reason=reason)


def judge(canary: Canary) -> Verdict:
    """Return the verdict on the candidate of a canary."""
    few = Verdict("unknown", f"{canary.step_requests} requests in this step; at least {_FEWEST} are needed")
    if canary.new.requests < _FEWEST:
        return few
    found = list(_verdicts(canary))
    worse, unknown = ([one.reason for one in found if one.outcome == outcome] for outcome in ("worse", "unknown"))
    if worse:
        return Verdict("worse", "; ".join(worse))
    if canary.step_requests < _FEWEST:
        return few
    if unknown:
        return Verdict("unknown", "; ".join(unknown))
    return Verdict("good", "; ".join(one.reason for one in found) or f"{canary.new.requests:,} requests")


def _verdicts(canary: Canary) -> Iterator[Verdict]:
    if canary.max_errors is not None:
        yield _errors(canary.old, canary.new, canary.max_errors)
        yield from _abandoned(canary.old, canary.new, canary.max_errors)
    if canary.max_p95 is not None and canary.old.requests >= _FEWEST:
        yield _latencies(canary.old, canary.new, canary.max_p95)
    if canary.min_agree is not None:
        yield _agreement(canary, canary.min_agree)


def _errors(old: Answers, new: Answers, most: float) -> Verdict:
    low, high = intervals.of_share(new.errors, new.requests)
    allowed = (old.errors / old.requests if old.requests else 0.0) + most
    told = (
        f"errors {_percent(new.errors, new.requests)} ({new.errors:,} of {new.requests:,}) against "
        f"{_percent(old.errors, old.requests)} ({old.errors:,} of {old.requests:,})"
    )
    outcome: Outcome = "worse" if low > allowed else "good" if high <= allowed else "unknown"
    return Verdict(outcome, told if outcome != "unknown" else f"{told}: more requests decide")


def _abandoned(old: Answers, new: Answers, most: float) -> Iterator[Verdict]:
    """Yield the verdict `worse` if callers disconnect more often before they have an answer of the candidate.

    They may do that for reasons of their own, so only a difference is a verdict.
    """
    if old.requests < _FEWEST or not new.abandoned:
        return
    low, _ = intervals.of_share(new.abandoned, new.requests)
    _, high = intervals.of_share(old.abandoned, old.requests)
    if low > high + most:
        shares = [
            f"{_percent(side.abandoned, side.requests)} of the answers ({side.abandoned:,} of {side.requests:,})"
            for side in (new, old)
        ]
        yield Verdict("worse", f"callers disconnected before {' against '.join(shares)}")


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2g} %" if total else "none"


def _latencies(old: Answers, new: Answers, most: float) -> Verdict:
    (old_low, old_high), (new_low, new_high) = _p95(old.latencies), _p95(new.latencies)
    told = f"p95 {1000 * (new.p95 or 0):.1f} ms against {1000 * (old.p95 or 0):.1f} ms"
    if new_low > max(most * old_high, old_high + _ALIKE_SECONDS):
        return Verdict("worse", told)
    if new_high <= max(most * old_low, old_low + _ALIKE_SECONDS):
        return Verdict("good", told)
    return Verdict("unknown", f"{told}: more requests decide")


def _agreement(canary: Canary, least: float) -> Verdict:
    told = f"{canary.same:,} of {canary.compared:,} answers are the same"
    if canary.compared < _FEWEST:
        return Verdict("unknown", f"{told}: at least {_FEWEST} are compared before it counts")
    low, high = intervals.of_share(canary.same, canary.compared)
    outcome: Outcome = "worse" if high < least else "good" if low >= least else "unknown"
    return Verdict(outcome, told if outcome != "unknown" else f"{told}: more requests decide")


def _p95(latencies: Mapping[str, int]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the 95th percentile."""
    total = sum(latencies.values())
    if total == 0:
        return 0.0, math.inf
    least, most = intervals.of_percentile(0.95, total)
    low, high = math.floor(total * least), math.ceil(total * most) + 1
    return _ranked(latencies, max(1, low)), math.inf if high > total else _ranked(latencies, high)


def _ranked(latencies: Mapping[str, int], rank: int) -> float:
    """Return the upper bound of the bucket with the latency of a rank, which counts from 1."""
    seen = 0
    for bound, count in sorted(latencies.items(), key=lambda item: float(item[0])):
        seen += count
        if seen >= rank:
            return float(bound)
    return math.inf


def added(answers: Answers, requests: int, errors: int, latencies: Mapping[str, int], abandoned: int = 0) -> Answers:
    """Return the counts of the answers of a deployment, with further answers added."""
    counts = dict(answers.latencies)
    for bound, count in latencies.items():
        if count:
            counts[bound] = counts.get(bound, 0) + count
    total = sum(counts.values())
    p95 = _ranked(counts, max(1, math.ceil(total * 0.95))) if total else None
    return Answers(
        requests=answers.requests + requests,
        errors=answers.errors + errors,
        abandoned=answers.abandoned + abandoned,
        p95=p95,
        latencies=counts,
    )
