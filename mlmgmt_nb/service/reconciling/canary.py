"""The judgment of a canary: a pure decision from its counts, repeated every round.

There are three verdicts on the newest answers of the current step. A candidate is worse if it is worse for all values
in the confidence intervals (99.9 %, because it is judged again and again), and good enough if it is good enough for all
of them (95 %); otherwise the verdict is unknown, and the canary waits. It is taken back when the candidate is worse. A
step ends when its time is over and the candidate is good enough.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Literal, NamedTuple

import msgspec

from mlmgmt_nb import intervals
from mlmgmt_nb.contract.traffic import Answers, AnswersOfBoth, Canary
from mlmgmt_nb.intervals import REPEATED_DEVIATIONS

__all__ = ["Verdict", "added", "advance", "extended", "judge"]

_FEWEST = 20
"""Minimum number of requests of each deployment for a verdict."""
_MOST_RECENT = 5000
"""Requests of the candidate in one part of the newest answers. Two parts decide: those before say little about now."""
_ENOUGH_RECENT = 1000
"""Recent requests of the current deployment with which the candidate is compared instead of all of the canary."""
_RARE = 0.0005
"""Probability of values that are not due to chance: the same as outside of one side of an interval of 99.9 %."""
_MOSTLY = 0.5
"""Share of errors above which a candidate is worse although there is nothing to compare it with."""
_ALIKE_SECONDS = 0.005
"""Difference of latencies that callers do not notice."""

Outcome = Literal["good", "worse", "unknown"]


class Verdict(NamedTuple):
    """An outcome, and the values that led to it."""

    outcome: Outcome
    reason: str


def extended(canary: Canary, answers: AnswersOfBoth) -> Canary:
    """Return a canary with further answers."""
    *full, last = canary.recent or [AnswersOfBoth()]
    recent = [*full, _plus(last, answers)]
    if recent[-1].new.requests >= _MOST_RECENT:
        recent.append(AnswersOfBoth())
    return msgspec.structs.replace(
        canary,
        old=_merged(canary.old, answers.old),
        new=_merged(canary.new, answers.new),
        compared=canary.compared + answers.compared,
        same=canary.same + answers.same,
        step_requests=canary.step_requests + answers.new.requests,
        recent=recent[-2:],
    )


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
        moved = msgspec.structs.replace(canary, step=canary.step + 1, step_since=now, step_requests=0, recent=[])
        return _with(moved, "Running", verdict.reason)
    return _with(canary, "Passed", verdict.reason)


def _with(canary: Canary, state: Literal["Running", "Waiting", "Passed", "TakenBack"], reason: str) -> Canary:
    return msgspec.structs.replace(canary, state=state, reason=reason)


def judge(canary: Canary) -> Verdict:
    """Return the verdict on the candidate of a canary, by its newest answers in the current step."""
    recent = reduce(_plus, canary.recent, AnswersOfBoth())
    if recent.new.requests < _FEWEST:
        return Verdict("unknown", f"{recent.new.requests} requests in this step; at least {_FEWEST} are needed")
    old = recent.old if recent.old.requests >= _ENOUGH_RECENT else canary.old
    found = list(_verdicts(canary, msgspec.structs.replace(recent, old=old)))
    for outcome in _BY_WEIGHT:
        if reasons := [one.reason for one in found if one.outcome == outcome]:
            return Verdict(outcome, "; ".join(reasons))
    return Verdict("good", f"{recent.new.requests:,} requests")


_BY_WEIGHT: tuple[Outcome, ...] = ("worse", "unknown", "good")


def _verdicts(canary: Canary, recent: AnswersOfBoth) -> Iterator[Verdict]:
    old, new = recent.old, recent.new
    can_compare = old.requests >= _FEWEST
    if not can_compare and (canary.max_errors is not None or canary.max_p95 is not None):
        yield _alone(old, new)
    if canary.max_errors is not None and can_compare:
        yield _errors(old, new, canary.max_errors)
        yield from _differences(old, new, canary.max_errors)
    if canary.max_p95 is not None and can_compare:
        yield _latencies(old, new, canary.max_p95)
    if canary.min_agree is not None:
        yield _agreement(recent, canary.min_agree)


def _alone(old: Answers, new: Answers) -> Verdict:
    """Return the verdict without enough answers of the current deployment: unknown, unless most requests fail."""
    if intervals.of_share(new.errors, new.requests, REPEATED_DEVIATIONS)[0] > _MOSTLY:
        return Verdict("worse", f"errors {_percent(new.errors, new.requests)} ({new.errors:,} of {new.requests:,})")
    told = f"{old.requests} requests of the current deployment; at least {_FEWEST} are needed to compare with"
    return Verdict("unknown", told)


def _errors(old: Answers, new: Answers, most: float) -> Verdict:
    counts = (new.errors, new.requests, old.errors, old.requests)
    told = (
        f"errors {_percent(new.errors, new.requests)} ({new.errors:,} of {new.requests:,}) against "
        f"{_percent(old.errors, old.requests)} ({old.errors:,} of {old.requests:,}), "
        f"limit {_limit(old.errors, old.requests, most)}"
    )
    if _is_more(*counts, most):
        return Verdict("worse", told)
    if intervals.of_difference(*counts)[1] <= most:
        return Verdict("good", told)
    return Verdict("unknown", f"{told}: more requests decide")


def _differences(old: Answers, new: Answers, most: float) -> Iterator[Verdict]:
    """Yield the verdict `worse` if the candidate refuses more requests, or if more callers disconnect before they have
    its answer.

    Both may be the fault of the callers, so only a difference is a verdict.
    """
    for told, count, other in (
        ("callers disconnected before", new.abandoned, old.abandoned),
        ("refused requests are", new.refused, old.refused),
    ):
        if _is_more(count, new.requests, other, old.requests, most):
            shares = [
                f"{_percent(found, side.requests)} of the answers ({found:,} of {side.requests:,})"
                for side, found in ((new, count), (old, other))
            ]
            yield Verdict("worse", f"{told} {' against '.join(shares)}, limit {_limit(other, old.requests, most)}")


def _is_more(count: int, total: int, other: int, other_total: int, most: float) -> bool:
    """Return whether a share is higher than another one by more than a limit, beyond doubt.

    The interval alone is not enough: with few cases, it is too narrow for a share near 0.
    """
    if intervals.of_difference(count, total, other, other_total, REPEATED_DEVIATIONS)[0] <= most:
        return False
    allowed = min(1.0, intervals.of_share(other, other_total)[1] + most)
    return intervals.tail(count, total, allowed) < _RARE


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.3g} %"


def _limit(count: int, total: int, more: float) -> str:
    """Return the largest share that is allowed beside a share of the current deployment."""
    return f"{100 * min(1.0, count / total + more):.3g} %"


def _latencies(old: Answers, new: Answers, most: float) -> Verdict:
    def limit(p95: float) -> float:
        return max(most * p95, p95 + _ALIKE_SECONDS)

    (old_p95, new_p95) = (side.p95 or 0.0 for side in (old, new))
    told = f"p95 {1000 * new_p95:.1f} ms against {1000 * old_p95:.1f} ms, limit {1000 * limit(old_p95):.1f} ms"
    (_, old_high), (new_low, _) = (_p95(side.latencies, REPEATED_DEVIATIONS) for side in (old, new))
    if new_low > limit(old_high):
        return Verdict("worse", told)
    (old_low, _), (_, new_high) = _p95(old.latencies), _p95(new.latencies)
    if new_high <= limit(old_low):
        return Verdict("good", told)
    return Verdict("unknown", f"{told}: more requests decide")


def _agreement(recent: AnswersOfBoth, least: float) -> Verdict:
    told = f"{recent.same:,} of {recent.compared:,} answers are the same, limit {100 * least:.4g} %"
    if recent.compared < _FEWEST:
        return Verdict("unknown", f"{told}: at least {_FEWEST} are compared before it counts")
    differ = recent.compared - recent.same
    if (
        intervals.of_share(recent.same, recent.compared, REPEATED_DEVIATIONS)[1] < least
        and intervals.tail(differ, recent.compared, 1 - least) < _RARE
    ):
        return Verdict("worse", told)
    if intervals.of_share(recent.same, recent.compared)[0] >= least:
        return Verdict("good", told)
    return Verdict("unknown", f"{told}: more requests decide")


def _p95(latencies: Mapping[str, int], deviations: float = intervals.DEVIATIONS) -> tuple[float, float]:
    """Return the confidence interval of the 95th percentile."""
    total = sum(latencies.values())
    if total == 0:
        return 0.0, math.inf
    least, most = intervals.of_percentile(0.95, total, deviations)
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


def added(
    answers: Answers,
    requests: int,
    errors: int,
    latencies: Mapping[str, int],
    abandoned: int = 0,
    refused: int = 0,
) -> Answers:
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
        refused=answers.refused + refused,
        p95=p95,
        latencies=counts,
    )


def _merged(answers: Answers, more: Answers) -> Answers:
    return added(answers, more.requests, more.errors, more.latencies, more.abandoned, more.refused)


def _plus(answers: AnswersOfBoth, more: AnswersOfBoth) -> AnswersOfBoth:
    return AnswersOfBoth(
        old=_merged(answers.old, more.old),
        new=_merged(answers.new, more.new),
        compared=answers.compared + more.compared,
        same=answers.same + more.same,
    )
