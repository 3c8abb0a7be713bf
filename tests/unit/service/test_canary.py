"""The judgment of a canary: three verdicts, and steps that advance only with enough requests."""

from __future__ import annotations

import datetime as dt
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.contract.traffic import Answers, AnswersOfBoth, Canary, CanaryStep
from mlmgmt_nb.service.reconciling.canary import added, advance, extended, judge

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def answers(requests: int, errors: int = 0, seconds: str = "0.01") -> Answers:
    return added(Answers(), requests, errors, {seconds: requests})


def canary(new: Answers, old: Answers | None = None, *, compared: int = 0, same: int = 0, **more: Any) -> Canary:
    steps = [CanaryStep(share=share, minutes=1) for share in (5, 50, 100)]
    given: dict[str, Any] = {"steps": steps, "step_since": BEGIN, **more}
    old = answers(10_000) if old is None else old
    return extended(Canary(**given), AnswersOfBoth(old=old, new=new, compared=compared, same=same))


def further(known: Canary, new: Answers, old: Answers | None = None) -> Canary:
    return extended(known, AnswersOfBoth(old=old or Answers(), new=new))


@pytest.mark.parametrize(
    ("new", "outcome", "words"),
    [
        (answers(0), "unknown", "at least 20"),
        (answers(19, 19), "unknown", "at least 20"),
        (answers(30), "unknown", "more requests decide"),  # no error yet, and 11 % are possible
        (answers(1000), "good", "0 of 1,000"),
        (answers(1000, 5), "unknown", "more requests decide"),
        (answers(1000, 40), "worse", "errors 4 % (40 of 1,000) against 0 % (0 of 10,000), limit 1 %"),
        (answers(30, 30), "worse", "errors 100 %"),
        (answers(1000, seconds="0.5"), "worse", "p95 500.0 ms against 10.0 ms, limit 20.0 ms"),
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
    assert f"{same:,} of {compared:,} answers are the same, limit 99 %" in verdict.reason


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


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (0, 200, "worse"),  # such as by a narrower schema
        (2000, 200, "good"),  # callers send wrong inputs to both
        (0, 3, "good"),
    ],
)
def test_a_candidate_that_refuses_more(old: int, new: int, outcome: str) -> None:
    sides = (added(Answers(), 10_000, 0, {"0.01": 10_000}, 0, old), added(Answers(), 1000, 0, {"0.01": 1000}, 0, new))
    verdict = judge(canary(sides[1], sides[0]))
    assert verdict.outcome == outcome, verdict
    told = "refused requests are 20 % of the answers (200 of 1,000) against 0 % of the answers (0 of 10,000), limit 1 %"
    assert (told in verdict.reason) == (outcome == "worse")


@pytest.mark.parametrize(("compared", "same", "least"), [(54, 53, 0.999), (20, 19, 0.999), (784, 783, 0.9999)])
def test_a_single_difference_is_not_beyond_doubt(compared: int, same: int, least: float) -> None:
    known = canary(answers(compared), min_agree=least, compared=compared, same=same, max_errors=None, max_p95=None)
    assert judge(known).outcome == "unknown"


@pytest.mark.parametrize("least", [0.95, 0.99, 0.999])
def test_a_candidate_at_its_limit_is_not_taken_back(least: float) -> None:
    random, taken = Random(7), 0
    for _ in range(100):
        steps = [CanaryStep(share=50, minutes=9)]
        known = Canary(steps=steps, step_since=BEGIN, min_agree=least, max_errors=None, max_p95=None)
        for _ in range(100):
            same = sum(random.random() < least for _ in range(20))
            known = extended(known, AnswersOfBoth(old=answers(20), new=answers(20), compared=20, same=same))
            known = advance(known, BEGIN)
            if known.state == "TakenBack":
                taken += 1
                break
    assert taken <= 4


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
    assert advance(further(first, answers(100)), moment + dt.timedelta(minutes=2)).state == "Waiting"
    ready = further(first, answers(1000), answers(1000))
    last = advance(ready, moment + dt.timedelta(minutes=2))
    assert (last.step, last.share, last.step_requests) == (2, 100, 0)
    passed = advance(further(last, answers(1000)), moment + dt.timedelta(minutes=4))
    assert (passed.state, passed.share) == ("Passed", 100)
    taken = advance(further(passed, answers(1000, 500)), moment)
    assert (taken.state, taken.share) == ("TakenBack", 0)
    assert advance(taken, moment + dt.timedelta(days=1)) == taken


@pytest.mark.parametrize(
    ("bad", "words"),
    [(answers(20, 20), "errors 100 % (20 of 20) against 0 %"), (answers(20, seconds="10"), "p95 10000.0 ms against")],
)
def test_good_requests_of_earlier_steps_do_not_hide_a_bad_step(bad: Answers, words: str) -> None:
    second = advance(canary(answers(6000), answers(50_000)), BEGIN + dt.timedelta(minutes=2))
    assert second.step == 1
    taken = advance(further(second, bad, answers(400)), BEGIN + dt.timedelta(minutes=4))
    assert taken.state == "TakenBack"
    assert words in taken.reason


def test_the_last_step_is_judged_by_its_newest_requests() -> None:
    known = canary(answers(1000), answers(20_000), steps=[CanaryStep(share=100)])
    known = advance(known, BEGIN)
    assert known.state == "Passed"
    for _ in range(1000):
        known = advance(further(known, answers(1000)), BEGIN)
    assert (known.state, known.new.requests) == ("Passed", 1_001_000)
    assert sum(part.new.requests for part in known.recent) <= 10_000
    taken = advance(further(known, answers(300, 300)), BEGIN)
    assert taken.state == "TakenBack"
    assert "(300 of " in taken.reason


def test_a_current_deployment_that_gets_worse_too_is_compared_as_it_is_now() -> None:
    """Such as after the failure of a database that both use."""
    known = canary(answers(1000), answers(100_000))
    known = advance(known, BEGIN + dt.timedelta(minutes=1))
    both = further(known, answers(2000, 1000), answers(2000, 1000))
    assert advance(both, BEGIN + dt.timedelta(minutes=1)).state == "Running"


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (answers(0), answers(1000), "unknown"),
        (answers(0), answers(1000, 50), "unknown"),  # the service may always have as many
        (answers(10, 5), answers(1000), "unknown"),
        (answers(0), answers(1000, seconds="10"), "unknown"),
        (answers(0), answers(100, 80), "worse"),  # most requests fail
        (answers(20, 1), answers(180, 9), "unknown"),
        (answers(10_000, 500), answers(1000, 50), "unknown"),
        (answers(50_000, 2500), answers(10_000, 500), "good"),
        (answers(10_000, 500), answers(1000, 150), "worse"),
    ],
)
def test_the_current_deployment_is_as_uncertain_as_its_requests(old: Answers, new: Answers, outcome: str) -> None:
    assert judge(canary(new, old)).outcome == outcome


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.8])
def test_an_equal_candidate_is_not_taken_back(share: float) -> None:
    """5 % of the requests fail on both sides, and the canary is judged after every 20 of them."""
    random, taken = Random(7), 0
    for _ in range(100):
        known = canary(answers(0), answers(0), steps=[CanaryStep(share=100 * share, minutes=9)])
        for _ in range(75):
            sides = [random.random() < share for _ in range(20)]
            failed = [random.random() < 0.05 for _ in range(20)]
            news, olds = (
                [bad for bad, side in zip(failed, sides, strict=True) if side == want] for want in (True, False)
            )
            known = further(known, answers(len(news), sum(news)), answers(len(olds), sum(olds)))
            known = advance(known, BEGIN)
            if known.state == "TakenBack":
                taken += 1
                break
    assert taken <= 3


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_more_errors_never_make_it_better(requests: int, old_errors: int, some: int, more: int) -> None:
    rank = {"good": 0, "unknown": 1, "worse": 2}
    fewer, further = sorted(min(count, requests) for count in (some, more))
    old = answers(5000, old_errors)
    verdicts = [judge(canary(answers(requests, errors), old)).outcome for errors in (fewer, further)]
    assert rank[verdicts[0]] <= rank[verdicts[1]]
