"""Mirrors on the real service: callers get the answers of the current deployment, and the candidate gets copies."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from mlmgmt_nb import connect
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.errors import ConflictError, UsageError
from tests.support.callers import Callers
from tests.support.waiting import eventually

SAYS = """\
import json
import time

def init():
    pass

def run(body, request_headers):
    n = json.loads(body).get("n", 0)
    time.sleep({seconds})
    if n < 0 and {word!r} == "new":
        raise ValueError("below zero")
    copy = next((value for name, value in request_headers.items() if name.lower() == "x-mlmgmt-copy"), None)
    return {{"n": n + (n % 4 == 0 and {word!r} == "new"), "secret": {word!r}, "copy": copy}}
"""


SAYS_ONE_WORD = "def init():\n    pass\n\ndef run(body):\n    return {word!r}\n"


def propose(api: Any, name: str, write: Callable[..., Path], *, seconds: float = 0, **more: Any) -> tuple[Any, str]:
    """Return a service and the name of its workspace's service, after a candidate was proposed."""
    old, new = (
        api.image(write(SAYS.format(word=word, seconds=slow), word), name=f"{name}-{word}")["id"]
        for word, slow in (("old", 0), ("new", seconds))
    )
    service = api.service(old, name, **more)
    answer = api.request("PUT", f"/services/{service['id']}/candidate", json={"imageId": new})
    assert api.operation(answer)["state"] == "Succeeded"
    return service, name


def change_of(api: Any, name: str) -> ProposedChange:
    return connect(base_url=api.base_url, token=api.token).services.change(name)


def mirror_of(change: ProposedChange) -> Any:
    """Return the mirror as it is now."""
    return change.refresh().candidate.mirror


def compared(change: ProposedChange) -> int:
    canary = change.refresh().candidate.canary
    assert canary is not None
    return canary.compared


def state(change: ProposedChange, wanted: str) -> Any:
    mirror = mirror_of(change)
    return mirror if mirror.state == wanted else None


def test_copies_are_compared_and_callers_notice_nothing(api: Any, name: str, write_driver: Callable[..., Path]) -> None:
    service, _ = propose(api, name, write_driver, recording={"redact": ["secret"]})
    change = change_of(api, name)
    with pytest.raises(UsageError, match=r"no request of service .* has been mirrored[\s\S]*change\.mirror"):
        change.mirror_report()
    for number in range(3):
        assert api.score(service, f'{{"n": {number}}}').json()["copy"] is None
    with pytest.raises(UsageError, match="minutes"):
        change.mirror(minutes=0)
    assert mirror_of(change.mirror(minutes=60, requests=40)).is_active
    with pytest.raises(ConflictError, match="A mirror of this candidate is running"):
        change.canary(5)
    eventually(lambda: _is_routed(api, service, change), what="the first copy")
    said = [api.score(service, f'{{"n": {number}}}').json() for number in range(100)]
    assert [one["n"] for one in said] == list(range(100))
    assert {(one["secret"], one["copy"]) for one in said} == {("old", None)}

    ended = eventually(lambda: state(change, "Ended"), what="the end of the mirror")
    assert (ended.pairs, ended.reason) == (40, "40 requests were copied")
    report = change.mirror_report()
    assert report.summary["requests"] == 40
    assert str(report).startswith(f"mirror: {service['name']} -> ")
    moved: Any = report.fields.set_index("field")
    assert moved.loc["copy", "moved"] == 40, "the candidate is told that these are copies"
    assert moved.loc["secret", "moved"] == 0, "its values are redacted"
    assert 0 < moved.loc["n", "moved"] < 40
    assert moved.loc["n", "largest_shift"] == 1
    assert report.to_frame()["new"].iloc[0]["copy"] == "mirror"
    assert "the mirror has ended: 40 requests were copied" in api.log(f"/services/{service['id']}/logs")
    promoted: Any = change.promote_if("errors == 0 and lost == 0", report).result(60)
    assert promoted.last_change.change == "promote"
    assert '"kind": "mirror"' in promoted.last_change.evidence
    assert api.score(service, '{"n": 4}').json()["n"] == 5
    eventually(lambda: not list((api.home / "mirrors").iterdir()), what="the end of the pairs")


def _is_routed(api: Any, service: Any, change: ProposedChange) -> bool:
    api.score(service, '{"n": 1}')
    return bool(mirror_of(change).pairs)


def test_a_busy_candidate_drops_copies_only(api: Any, name: str, write_driver: Callable[..., Path]) -> None:
    """Its four copies at a time take a while; callers do not wait for them, and large bodies are not copied."""
    service, _ = propose(api, name, write_driver, seconds=0.5)
    change = change_of(api, name)
    change.mirror(minutes=60)
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    callers = Callers([service["scoringUri"]], key)
    callers.body = '{"n": 1}'
    try:
        eventually(lambda: mirror_of(change).dropped > 20, what="dropped copies")
        assert callers.failed == []
    finally:
        callers.stop()
    large = '{"n": 1, "x": "' + "x" * 2**20 + '"}'
    assert api.score(service, large).status_code == 200
    assert api.score(service, '{"n": 1}', "wrong").status_code == 401
    mirror = eventually(lambda: _skipped(change), what="the large one")
    assert mirror.skipped == 1
    assert mirror_of(change.stop_mirror()).state == "Stopped"
    report = change.mirror_report()
    assert report.summary["errors"] == 0
    assert report.skipped >= 21
    change.discard()


def _skipped(change: ProposedChange) -> Any:
    mirror = mirror_of(change)
    return mirror if mirror.skipped else None


def test_a_mirror_survives_a_crash_and_ends_with_an_update(
    start_service: Callable[..., Any], write_driver: Callable[..., Path]
) -> None:
    api = start_service()
    service, _ = propose(api, "mirrored", write_driver)
    change = change_of(api, "mirrored")
    change.mirror(minutes=60)
    eventually(lambda: _is_routed(api, service, change), what="the first copy")
    api.kill()
    again = start_service()
    change = change_of(again, "mirrored")
    before = mirror_of(change).pairs
    eventually(lambda: _is_routed(again, service, change) and mirror_of(change).pairs > before, 60, "more copies")
    again.operation(again.request("PUT", f"/services/{service['id']}", json={"numReplicas": 1}))
    stopped = mirror_of(change)
    assert stopped.state == "Stopped"
    assert len(change.mirror_report().results) == stopped.pairs


def test_a_canary_whose_answers_differ_is_taken_back(api: Any, name: str, write_driver: Callable[..., Path]) -> None:
    """Its requests are also answered by the current deployment, and no answer is the same."""
    service, _ = propose(api, name, write_driver)
    change = change_of(api, name)
    with pytest.raises(UsageError, match="minAgree"):
        change.canary(50, min_agree=2)
    change.canary(50, minutes=60, max_errors=None, max_p95=None, min_agree=0.95)

    def taken_back() -> Any:
        for number in range(40):
            assert api.score(service, f'{{"n": {number // 2}}}').status_code == 200
        canary = change.refresh().candidate.canary
        return canary if canary and canary.state == "TakenBack" else None

    canary = eventually(taken_back, what="the end of the canary")
    assert canary.compared >= 20
    assert canary.same < 0.95 * canary.compared
    assert f"{canary.same:,} of {canary.compared:,} answers are the same" in canary.reason
    change.discard()


def test_each_candidate_is_compared_by_its_own_answers(api: Any, name: str, write_driver: Callable[..., Path]) -> None:
    images = [
        api.image(write_driver(SAYS_ONE_WORD.format(word=word), f"{word}{number}"), name=f"{name}-{number}")["id"]
        for number, word in enumerate(("old", "old", "new", "old", "new"))
    ]
    service = api.service(images[0], name)
    path = f"/services/{service['id']}"
    callers = Callers([service["scoringUri"]], api.get(f"{path}/keys")["primaryKey"])
    canary = {"steps": [{"share": 50, "minutes": 60}], "maxP95": None, "maxErrors": None, "minAgree": 0.0}
    try:
        for number, image in enumerate(images[1:], 1):
            api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": image}))
            assert api.request("PUT", f"{path}/candidate/canary", json=canary).status_code == 200
            found = eventually(lambda: _compared(api, path), what="the first comparisons")
            assert found["same"] == (found["compared"] if number % 2 else 0), found
            assert api.request("DELETE", f"{path}/candidate").status_code == 200
    finally:
        callers.stop()


def _compared(api: Any, path: str) -> Any:
    canary = api.get(f"{path}/candidate")["canary"]
    return canary if canary["compared"] > 20 else None


def test_copies_for_a_comparison_take_no_place_of_a_caller(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    """Callers use all places of the current deployment, which refuses one request more."""
    old, new = (
        api.image(write_driver(SAYS.format(word=word, seconds=seconds), word), name=f"{name}-{word}")["id"]
        for word, seconds in (("old", 0.02), ("new", 0))
    )
    service = api.service(old, name, maxConcurrentRequestsPerContainer=4)
    answer = api.request("PUT", f"/services/{service['id']}/candidate", json={"imageId": new})
    assert api.operation(answer)["state"] == "Succeeded"
    change = change_of(api, name)
    change.canary(50, minutes=60, max_errors=None, max_p95=None, min_agree=0.0)
    canary = change.candidate.canary
    assert canary is not None
    assert (canary.max_errors, canary.max_p95) == (None, None)

    def first() -> bool:
        assert api.score(service, '{"n": 1}').status_code == 200
        return compared(change) > 0

    eventually(first, what="the first comparison")
    callers = Callers([service["scoringUri"]], api.get(f"/services/{service['id']}/keys")["primaryKey"])
    try:
        eventually(lambda: compared(change) >= 20, 60, "twenty comparisons")
        assert callers.count(200).total() >= 200
    finally:
        callers.stop()
    assert callers.failed == []
    change.discard()


def test_errors_of_a_redacted_candidate_are_counted_and_quote_nothing(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    service, _ = propose(api, name, write_driver, recording={"redact": ["secret"]})
    change = change_of(api, name)
    change.mirror(minutes=60)
    eventually(lambda: _is_routed(api, service, change), what="the first copy")
    # With a body in chunks: the copy has it whole.
    assert api.score(service, iter([b'{"n": -1, ', b'"secret": "hunter2"}'])).json()["n"] == -1
    report = eventually(lambda: _failed(change), what="the answer of the candidate")
    assert (report.summary["errors"], report.skipped) == (1, 0)
    assert "500" in report.to_frame()["new_error"].iloc[-1]
    kept = b"".join(path.read_bytes() for path in (api.home / "mirrors").iterdir())
    assert b"below zero" not in kept
    change.discard()


def _failed(change: ProposedChange) -> Any:
    report = change.mirror_report()
    return report if report.summary["errors"] else None


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_a_stopped_mirror_has_the_pairs_of_its_last_second(
    api: Any, name: str, write_driver: Callable[..., Path], seconds: float
) -> None:
    """Also those that the candidate has yet to answer. A mirror that follows does not get them."""
    service, _ = propose(api, name, write_driver, seconds=seconds)
    change: Any = change_of(api, name)
    change.mirror(minutes=60)
    eventually(lambda: _is_routed(api, service, change), what="the first copy")
    before = change.stop_mirror().candidate.mirror.pairs
    change.mirror(minutes=60)
    assert mirror_of(change).pairs == 0
    eventually(lambda: _is_routed(api, service, change), what="the first copy of the second mirror")
    assert [api.score(service, '{"n": 2}').json()["n"] for _ in range(12)] == [2] * 12
    stopped = change.stop_mirror().candidate.mirror
    assert stopped.state == "Stopped"
    assert stopped.dropped == stopped.skipped == 0
    pairs = api.get(f"/services/{service['id']}/candidate/mirror/pairs")["value"]
    assert len(pairs) == stopped.pairs
    answers = [json.loads(base64.b64decode(pair["oldAnswer"]))["n"] for pair in pairs]
    assert answers.count(2) == 12
    assert before >= 1
    change.canary(50)
    assert change.stop_mirror().candidate.canary.is_active, "only the mirror is stopped"
    assert change.stop_canary().candidate.canary.state == "Stopped"
    change.discard()


def test_open_connections_reach_a_service_at_another_address_after_a_mirror(
    start_service: Callable[..., Any], write_driver: Callable[..., Path]
) -> None:
    allowed = ("--allow-shared-token", "--allow-plain-http", "--url-scheme", "file")
    api = start_service("--host", "127.0.0.2", *allowed)
    service, _ = propose(api, "elsewhere", write_driver)
    assert "//127.0.0.2:" in service["scoringUri"]
    change = change_of(api, "elsewhere")
    change.mirror(minutes=60)
    eventually(lambda: _is_routed(api, service, change), what="the first copy")
    with requests.Session() as session:
        assert api.score(service, '{"n": 1}', session=session).status_code == 200
        change.stop_mirror()
        eventually(lambda: state(change, "Stopped"), what="the end of the mirror")
        answers = [api.score(service, '{"n": 1}', session=session) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    change.discard()
