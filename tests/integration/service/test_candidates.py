"""Candidates: a deployment beside the one that serves, promoted with its own replicas or discarded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.support.waiting import eventually

SAYS = """\
import os
import time

def init():
    time.sleep({seconds})

def run(body):
    return [{word!r}, os.getpid(), os.environ.get("MODE"), os.environ.get("TOKEN")]
"""


def images(api: Any, write_driver: Callable[..., Path], name: str, **seconds: float) -> dict[str, str]:
    return {
        word: api.image(write_driver(SAYS.format(word=word, seconds=slow), word), name=f"{name}-{word}")["id"]
        for word, slow in seconds.items()
    }


def state(api: Any, answer: Any) -> str:
    found: str = api.operation(answer)["state"]
    return found


def test_a_candidate_is_tried_and_promoted_with_its_own_replicas(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    built = images(api, write_driver, name, old=0, new=0.5)
    service = api.service(built["old"], name, environment={"MODE": "fast"}, secrets={"TOKEN": "1"})
    path = f"/services/{service['id']}"
    assert api.request("GET", f"{path}/candidate").json()["code"] == "NoCandidate"
    assert api.request("DELETE", f"{path}/candidate").status_code == 204
    assert api.request("POST", f"{path}/candidate/promote").status_code == 404

    body = {"imageId": built["new"], "reason": "better", "environment": {"MODE": "exact"}}
    assert state(api, api.request("PUT", f"{path}/candidate", json=body)) == "Succeeded"
    candidate = api.get(f"{path}/candidate")
    assert (candidate["name"], candidate["reason"]) == (f"{name}/candidate", "better")
    assert candidate["expiresAt"] > candidate["createdAt"]
    word, process, *variables = api.score(candidate, "1").json()
    assert (word, *variables) == ("new", "exact", "1")  # under the key of the service
    front = f"{api.base_url.partition('/api/')[0]}/api/v1/service/{name}/candidate/score"
    key = api.get(f"{path}/keys")["primaryKey"]
    there = api.request("POST", front, data="1", headers={"authorization": f"Bearer {key}"})
    assert there.json()[0] == "new"

    # It is in no list, and the service is as it was.
    assert [one["id"] for one in api.get("/services")["value"] if one["name"].startswith(name)] == [service["id"]]
    assert {one["imageId"] for one in api.get("/deployments") if one["serviceName"] == name} == {built["old"]}
    assert api.score(service, "1").json()[0] == "old"

    # New keys apply to both.
    renewed = api.post(f"{path}/keys", {"keyType": "Primary"})["primaryKey"]
    assert api.score(candidate, "1", key).status_code == 401
    assert api.score(candidate, "1", renewed).status_code == 200

    said: Counter[Any] = Counter()
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            answer = api.score(service, "1", renewed)
            said[answer.json()[0] if answer.status_code == 200 else answer.status_code] += 1

    caller = threading.Thread(target=call)
    caller.start()
    promoted = state(api, api.request("POST", f"{path}/candidate/promote", params={"evidence": "report.html"}))
    done.set()
    caller.join()
    assert promoted == "Succeeded"
    assert set(said) <= {"old", "new"}, said
    assert api.score(service, "1", renewed).json()[:2] == ["new", process]
    record = api.get(path)["lastChange"]
    assert (record["change"], record["reason"], record["evidence"]) == ("promote", "better", "report.html")
    with pytest.raises(requests.ConnectionError):
        api.request("GET", candidate["scoringUri"])
    assert api.request("GET", f"{path}/candidate").status_code == 404
    assert state(api, api.request("POST", f"{path}/rollback")) == "Succeeded"
    assert api.score(service, "1", renewed).json()[0] == "old"
    eventually(lambda: not psutil.pid_exists(process), what="the end of its replica")


def test_a_promotion_warns_that_it_replaces_a_change_that_the_candidate_lacks(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    service = api.service(images(api, write_driver, name, old=0)["old"], name, environment={"MODE": "fast"})
    path = f"/services/{service['id']}"
    body = {"environment": {"TOKEN": "2"}}
    assert state(api, api.request("PUT", f"{path}/candidate", json=body)) == "Succeeded"
    assert state(api, api.request("PUT", path, json={"environment": {"MODE": "exact"}})) == "Succeeded"
    promoted = api.operation(api.request("POST", f"{path}/candidate/promote"))
    assert promoted["state"] == "Succeeded"
    assert "was changed after this candidate was proposed" in promoted["warning"]
    assert api.get(path)["warning"] == promoted["warning"]
    assert state(api, api.request("POST", f"{path}/rollback")) == "Succeeded"
    assert api.score(service, "1").json()[2] == "exact"
    # A candidate that has the change does not warn.
    assert state(api, api.request("PUT", f"{path}/candidate", json=body)) == "Succeeded"
    assert api.operation(api.request("POST", f"{path}/candidate/promote"))["warning"] is None


def test_a_promotion_adds_none_of_the_requests_that_the_candidate_answered_before(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    built = images(api, write_driver, name, old=0, new=0)
    service = api.service(built["old"], name)
    path = f"/services/{service['id']}"
    assert state(api, api.request("PUT", f"{path}/candidate", json={"imageId": built["new"]})) == "Succeeded"
    candidate = api.get(f"{path}/candidate")

    def counted(service_id: str) -> float:
        lines = api.request("GET", f"/services/{service_id}/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("mlmgmt_requests_total{")).rpartition(" ")[2])

    for one in (service, service, *[candidate] * 5):
        assert api.score(one, "1").status_code == 200
    eventually(lambda: counted(candidate["id"]) == 5, what="the requests of the candidate")
    api.score(candidate, "1")  # it may not be counted yet when the candidate is promoted
    assert state(api, api.request("POST", f"{path}/candidate/promote")) == "Succeeded"
    assert counted(service["id"]) == 2
    assert api.score(service, "1").json()[0] == "new"
    eventually(lambda: counted(service["id"]) == 3, what="the request after the promotion")
    # Its replica ends, and its counts stay.
    assert state(api, api.request("POST", f"{path}/rollback")) == "Succeeded"
    eventually(lambda: counted(service["id"]) == 3, what="the counts of ended replicas")
    assert api.score(service, "1").json()[0] == "old"
    eventually(lambda: counted(service["id"]) == 4, what="the request after the rollback")


def test_a_rollback_takes_over_the_replicas_that_a_promotion_kept(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    built = images(api, write_driver, name, old=0, new=0)
    service = api.service(built["old"], name, secrets={"TOKEN": "1"})
    path = f"/services/{service['id']}"

    def promote(minutes: str, **body: Any) -> requests.Response:
        assert state(api, api.request("PUT", f"{path}/candidate", json=body)) == "Succeeded"
        answer: requests.Response = api.request("POST", f"{path}/candidate/promote", params={"keepWarm": minutes})
        return answer

    def kept() -> float:
        lines = api.request("GET", f"{path}/metrics").text.splitlines()
        return float(next(line for line in lines if 'state="kept"' in line).rpartition(" ")[2])

    assert promote("soon", imageId=built["new"]).status_code == 400
    refused = promote("5", imageId=built["new"], secrets={"TOKEN": "2"})
    assert (refused.status_code, refused.json()["code"]) == (409, "NotKept")
    first = api.score(service, "1").json()[1]
    assert state(api, promote("5", imageId=built["new"])) == "Succeeded"
    word, second = api.score(service, "1").json()[:2]
    assert word == "new"
    assert kept() == 1
    assert api.get(path)["lastChange"]["keptUntil"] > api.get(path)["lastChange"]["createdAt"]
    assert state(api, api.request("POST", f"{path}/rollback")) == "Succeeded"
    assert api.score(service, "1").json()[:2] == ["old", first]
    eventually(lambda: not psutil.pid_exists(second), what="the end of the replica that is not kept")
    assert kept() == 0
    assert api.get(path)["lastChange"].get("keptUntil") is None

    # Kept again, they end by another change, and by themselves.
    assert state(api, promote("5", imageId=built["new"])) == "Succeeded"
    assert kept() == 1
    assert state(api, api.request("PUT", path, json={"environment": {"MODE": "other"}})) == "Succeeded"
    eventually(lambda: not psutil.pid_exists(first), what="their end")
    serving = api.score(service, "1").json()[1]
    assert state(api, promote("0.1", imageId=built["old"])) == "Succeeded"
    eventually(lambda: not psutil.pid_exists(serving), what="the end of their time")
    assert api.score(service, "1").json()[0] == "old"


def test_a_candidate_that_does_not_start_is_not_promoted_and_nothing_of_it_is_left(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    built = images(api, write_driver, name, old=0)
    driver = write_driver("def init():\n    raise OSError('no model')\n\ndef run(body):\n    pass\n", "broken")
    broken = api.image(driver, name=f"{name}-broken")
    service = api.service(built["old"], name)
    path = f"/services/{service['id']}"
    failed = api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": broken["id"]}))
    assert failed["state"] == "Failed"
    assert "no model" in failed["error"]["message"]
    refused = api.request("POST", f"{path}/candidate/promote")
    assert (refused.status_code, refused.json()["code"]) == (409, "CandidateNotReady")

    # Another one takes its place.
    body = {"imageId": built["old"], "environment": {"MODE": "exact"}}
    assert state(api, api.request("PUT", f"{path}/candidate", json=body)) == "Succeeded"
    candidate = api.get(f"{path}/candidate")
    process = api.score(candidate, "1").json()[1]
    kept = {"name": "changed", "path": candidate["id"]}
    assert api.request("PUT", f"/services/{candidate['id']}", json=kept).status_code == 404
    assert api.request("DELETE", f"/services/{candidate['id']}").status_code == 204

    # It survives a restart of the service, and its service is changed and deleted as ever.
    assert state(api, api.request("PUT", path, json={"environment": {"MODE": "other"}})) == "Succeeded"
    assert api.request("DELETE", f"{path}/candidate").status_code == 200
    assert api.request("GET", f"{path}/candidate").status_code == 404
    eventually(lambda: not psutil.pid_exists(process), what="the end of its replica")
    eventually(lambda: api.request("GET", f"/services/{candidate['id']}").status_code == 404, what="its end")
    assert {one["change"] for one in api.get("/deployments", serviceId=service["id"])} == {"create", "update"}
    assert candidate["image"]["id"] == built["old"]


def test_a_candidate_survives_a_crash_and_ends_with_its_service(
    start_service: Callable[..., Any], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    api = start_service(home=tmp_path / "home")
    built = images(api, write_driver, "crash", old=0)
    service = api.service(built["old"], "crash")
    path = f"/services/{service['id']}"
    assert state(api, api.request("PUT", f"{path}/candidate", json={"environment": {"MODE": "exact"}})) == "Succeeded"
    uri = api.get(f"{path}/candidate")["scoringUri"]
    before = api.score(api.get(f"{path}/candidate"), "1").json()
    api.kill()
    api.start()
    candidate = api.get(f"{path}/candidate")
    assert candidate["scoringUri"] == uri
    after = eventually(lambda: _said(api, candidate), what="the answer of the candidate")
    assert after[1] != before[1]
    assert after[2] == "exact"
    # Promoted, and killed at once: the service has its deployment then, and nothing else is left.
    assert api.request("POST", f"{path}/candidate/promote", params={"keepWarm": "5"}).status_code == 202
    api.kill()
    api.start()
    eventually(lambda: api.get(path)["lastChange"]["change"] == "promote", what="the promotion")
    assert api.get(path)["lastChange"].get("keptUntil") is None, "the earlier replicas have ended with the process"
    assert eventually(lambda: _said(api, service), what="the answer of the service")[2] == "exact"
    eventually(lambda: api.request("GET", f"/services/{candidate['id']}").status_code == 404, what="its end")
    assert state(api, api.request("PUT", f"{path}/candidate", json={"environment": {"MODE": "last"}})) == "Succeeded"
    last = api.get(f"{path}/candidate")
    process = _said(api, last)[1]
    assert api.request("DELETE", path).status_code == 200
    eventually(lambda: not psutil.pid_exists(process), what="the end of its replica")
    eventually(lambda: api.request("GET", f"/services/{last['id']}").status_code == 404, what="its end")


def _said(api: Any, service: Any) -> Any:
    """Return the answer of a service, or None while it does not listen yet."""
    try:
        answer = api.score(service, "1")
    except requests.ConnectionError:
        return None
    return answer.json() if answer.status_code == 200 else None


def test_a_candidate_ends_when_its_time_is_over(
    start_service: Callable[..., Any], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    api = start_service("--candidate-hours", "0.001", home=tmp_path / "home")
    service = api.service(images(api, write_driver, "brief", old=0)["old"], "brief")
    path = f"/services/{service['id']}"
    assert state(api, api.request("PUT", f"{path}/candidate", json={})) == "Succeeded"
    eventually(lambda: api.request("GET", f"{path}/candidate").status_code == 404, what="its end")
    assert "its time is over" in api.log(f"{path}/logs")
