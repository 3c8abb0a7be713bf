"""The split of requests between a deployment and its candidate."""

from __future__ import annotations

from typing import Any

import pytest

from mlmgmt_nb.service.gateway.side import Side
from mlmgmt_nb.service.gateway.split import Split, choose

SCORE = {"method": "POST", "path": "/api/v1/service/s/score", "headers": []}


def chosen(split: Split, scopes: list[Any]) -> list[int]:
    owed, which = 0.0, []
    for scope in scopes:
        is_new, owed = choose(split, scope, owed)
        which.append(int(is_new))
    return which


@pytest.mark.parametrize("percent", [1, 5, 25, 33.3, 50, 99, 100])
def test_shares_of_requests_are_exact(percent: float) -> None:
    which = chosen(Split(1, 2, percent / 100), [SCORE] * 20_000)
    for begin in range(0, 20_000, 1000):  # at any time, not only in the end
        assert abs(sum(which[begin : begin + 1000]) - 10 * percent) <= 1


@pytest.mark.parametrize("percent", [5, 25, 50, 100])
def test_a_caller_stays_and_the_share_is_that_of_the_callers(percent: int) -> None:
    split = Split(1, 2, percent / 100, "x-customer")
    scopes = [{**SCORE, "headers": [(b"x-customer", b"customer %d" % number)]} for number in range(20_000)]
    which = chosen(split, scopes)
    assert which == chosen(split, scopes)
    assert abs(sum(which) / 20_000 - percent / 100) < 0.01
    # Those who had the candidate keep it when the share grows.
    more = chosen(split._replace(share=min(1.0, 2 * percent / 100)), scopes)
    assert all(after >= before for before, after in zip(which, more, strict=True))


@pytest.mark.parametrize("percent", [0.01, 5, 50, 100])
def test_requests_without_the_header_are_assigned_by_themselves(percent: float) -> None:
    split = Split(1, 2, percent / 100, "x-customer")
    for headers in ([(b"x-other", b"1")], [(b"x-customer", b"")]):
        assert sum(chosen(split, [{**SCORE, "headers": headers}] * 10_000)) == round(100 * percent)


@pytest.mark.parametrize("value", ["%d", "cust-%d", "0000%04d"])
def test_similar_values_are_assigned_as_evenly_as_others(value: str) -> None:
    scopes = [{**SCORE, "headers": [(b"x-customer", (value % number).encode())]} for number in range(2000)]
    share = sum(chosen(Split(1, 2, 0.05, "x-customer"), scopes)) / 2000
    assert abs(share - 0.05) < 3 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("other", [{"path": "/"}, {"path": "/swagger.json"}, {"method": "HEAD"}, {"method": "OPTIONS"}])
def test_only_scoring_requests_count(other: dict[str, str]) -> None:
    assert chosen(Split(1, 2, 1.0), [{**SCORE, **other}, SCORE]) == [0, 1]


def test_copies_go_to_the_current_deployment() -> None:
    copy = {**SCORE, "headers": [(b"x-mlmgmt-copy", b"replay")]}
    assert chosen(Split(1, 2, 1.0), [SCORE, copy, SCORE]) == [1, 0, 1]
    assert chosen(Split(1, 2, 1.0, "x-customer"), [SCORE, copy]) == [1, 0]


def test_strangers_are_no_evidence() -> None:
    side = Side()
    for status in (200, 400, 401, 401, 500, 503):
        side.add(status, 0.01)
    assert side.refused == 1
    assert (side.requests, side.errors, sum(side.latencies.counts().values())) == (4, 2, 4)


def test_a_caller_that_does_not_wait_is_a_request_without_an_error() -> None:
    """The time until it left counts, or a candidate that never answers would have no latencies."""
    side = Side()
    for status in (200, None, None, 500):
        side.add(status, 0.01)
    assert (side.requests, side.errors, side.abandoned, sum(side.latencies.counts().values())) == (4, 1, 2, 4)
