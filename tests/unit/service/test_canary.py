"""The judgment of a canary: three verdicts, and steps that advance only with enough requests."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.contract.traffic import Answers, Canary, CanaryStep
from mlmgmt_nb.service.reconciling.canary import added, advance, judge

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def answers(requests: int, errors: int = 0, seconds: str = "0.01") -> Answers:
    return added(Answers(), requests, errors, {seconds: requests})


def canary(new: Answers, old: Answers | None = None, **more: Any) -> Canary:
    steps = [CanaryStep(share=share, minutes=1) for share in (5, 50, 100)]
    given: dict[str, Any] = {"steps": steps, "step_since": BEGIN, "step_requests": new.requests, **more}
    return Canary(old=old or answers(10_000), new=new, **given)


@pytest.mark.parametrize(
    ("new", "outcome", "words"),
    [
        (answers(0), "unknown", "at least 20"),
        (answers(19, 19), "unknown", "at least 20"),
        (answers(30), "unknown", "more requests decide"),  # no error yet, and 11 % are possible
        (answers(1000), "good", "0 of 1,000"),
        (answers(1000, 5), "unknown", "more requests decide"),
        (answers(1000, 40), "worse", "errors 4 % (40 of 1,000) against 0 % (0 of 10,000)"),
        (answers(30, 30), "worse", "errors 1e+02 %"),
        (answers(1000, seconds="0.5"), "worse", "p95 500.0 ms against 10.0 ms"),
        (answers(60, seconds="0.01"), "unknown", "more requests decide"),
    ],
)
def test_a_verdict_has_its_values(new: Answers, outcome: str, words: str) -> None:
    verdict = judge(canary(new))
    assert verdict.outcome == outcome, verdict
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("compared", "same", "outcome"),
    [(0, 0, "unknown"), (19, 0, "unknown"), (100, 100, "unknown"), (1000, 1000, "good"), (1000, 900, "worse")],
)
def test_answers_have_to_agree(compared: int, same: int, outcome: str) -> None:
    verdict = judge(canary(answers(1000), min_agree=0.99, compared=compared, same=same))
    assert verdict.outcome == outcome, verdict
    assert f"{same:,} of {compared:,} answers are the same" in verdict.reason


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (0, 300, "worse"),  # they did not wait for the candidate
        (3000, 300, "good"),  # they never wait
        (0, 10, "good"),  # a few may have other reasons
    ],
)
def test_callers_that_do_not_wait_for_the_candidate(old: int, new: int, outcome: str) -> None:
    sides = (added(Answers(), 10_000, 0, {"0.01": 10_000}, old), added(Answers(), 1000, 0, {"0.01": 1000}, new))
    verdict = judge(canary(sides[1], sides[0]))
    assert verdict.outcome == outcome, verdict
    assert ("callers disconnected before 30 % of the answers" in verdict.reason) == (outcome == "worse")


def test_limits_can_be_left_out() -> None:
    bad = canary(answers(1000, 900, seconds="5.0"), max_errors=None, max_p95=None)
    assert judge(bad).outcome == "good"


def test_a_step_without_enough_traffic_waits_and_says_so() -> None:
    early = advance(canary(answers(5)), BEGIN + dt.timedelta(seconds=59))
    assert (early.state, early.step, early.share) == ("Running", 0, 5)
    late = advance(canary(answers(5)), BEGIN + dt.timedelta(hours=5))
    assert (late.state, late.step) == ("Waiting", 0)
    assert "5 requests in this step" in late.reason


def test_steps_advance_one_by_one_and_each_needs_its_own_requests() -> None:
    moment = BEGIN + dt.timedelta(minutes=1)
    first = advance(canary(answers(1000)), moment)
    assert (first.state, first.step, first.share, first.step_requests) == ("Running", 1, 50, 0)
    assert advance(first, moment + dt.timedelta(minutes=2)).state == "Waiting"
    ready = msgspec.structs.replace(first, step_requests=100)
    last = msgspec.structs.replace(advance(ready, moment + dt.timedelta(minutes=2)), step_requests=100)
    assert (last.step, last.share) == (2, 100)
    passed = advance(last, moment + dt.timedelta(minutes=4))
    assert (passed.state, passed.share) == ("Passed", 100)
    worse = msgspec.structs.replace(passed, new=answers(2000, 500))
    taken = advance(worse, moment)
    assert (taken.state, taken.share) == ("TakenBack", 0)
    assert advance(taken, moment + dt.timedelta(days=1)) == taken


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_more_errors_never_make_it_better(requests: int, old_errors: int, some: int, more: int) -> None:
    rank = {"good": 0, "unknown": 1, "worse": 2}
    fewer, further = sorted(min(count, requests) for count in (some, more))
    old = answers(5000, old_errors)
    verdicts = [judge(canary(answers(requests, errors), old)).outcome for errors in (fewer, further)]
    assert rank[verdicts[0]] <= rank[verdicts[1]]
