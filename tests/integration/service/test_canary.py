"""Canaries on the real service: exact shares of requests, and no failed request at any transition."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.conftest import ServiceProcess
from tests.integration.service.drivers import at_front_door, trouble
from tests.support.callers import Callers
from tests.support.waiting import eventually

SAYS = """\
def init():
    pass

def run(body):
    if "fail" in body and {fails}:
        raise ValueError("this one is worse")
    return {word!r}
"""


def test_a_canary_from_its_first_step_to_its_promotion_and_one_that_is_taken_back(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    old, new, bad = (
        api.image(write_driver(SAYS.format(word=word, fails=fails), word), name=f"{name}-{word}")["id"]
        for word, fails in (("old", False), ("new", False), ("bad", True))
    )
    service = api.service(old, name)
    path = f"/services/{service['id']}"
    assert api.request("PUT", f"{path}/candidate/canary", json={"steps": [{"share": 5}]}).status_code == 404
    refused = api.request("PUT", f"{path}/candidate/canary", json={"steps": [{"share": 0}]})
    assert refused.status_code == 400
    assert api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": new}))["state"] == "Succeeded"

    urls = [one["scoringUri"] for one in (service, at_front_door(api, service))]
    callers = Callers(urls, api.get(f"{path}/keys")["primaryKey"])
    try:
        assert set(callers.count(20)) == {"old"}
        lenient = {"maxP95": None, "maxErrors": 0.2}

        def canary(**body: Any) -> Any:
            answer = api.request("PUT", f"{path}/candidate/canary", json={**lenient, **body})
            assert answer.status_code == 200, answer.text
            return answer.json()["canary"]

        # The first round after the change may already have found too few requests.
        assert canary(steps=[{"share": 25}])["state"] in {"Running", "Waiting"}
        eventually(lambda: set(callers.count(20)) == {"old", "new"}, what="the first answers of the candidate")
        said = callers.count(400)
        assert abs(said["new"] - said.total() / 4) <= 4, said  # exact, but for calls that are under way
        state = eventually(lambda: _state(api, path, "Passed"), what="the end of its only step")
        assert state["new"]["requests"] > 20

        canary(steps=[{"share": 50, "minutes": 0}, {"share": 100, "minutes": 60}])
        eventually(lambda: set(callers.count(20)) == {"new"}, what="the last step")
        assert _state(api, path, "Running")["step"] == 1
        promoted = api.operation(api.request("POST", f"{path}/candidate/promote"))
        assert promoted["state"] == "Succeeded"
        assert set(callers.count(50)) == {"new"}

        # Another one fails for some requests: it is taken back by itself, and says why.
        assert api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": bad}))["state"] == "Succeeded"
        canary(steps=[{"share": 50}], maxErrors=0.01)
        eventually(lambda: set(callers.count(20)) == {"new", "bad"}, what="the first answers of the candidate")
        assert callers.failed == []
        callers.body = '{"fail": 1}'
        taken = eventually(lambda: _state(api, path, "TakenBack"), what="the end of the canary")
        assert "errors" in taken["reason"]
        eventually(lambda: set(callers.count(20)) == {"new"}, what="the end of its answers")
        failures = len(callers.failed)
        assert set(callers.count(50)) == {"new"}
        assert len(callers.failed) == failures
        assert all("this one is worse" in failed for failed in callers.failed)
    finally:
        callers.stop()
    assert f"the canary was taken back: {taken['reason']}" in api.log(f"{path}/logs")
    assert api.request("DELETE", f"{path}/candidate").status_code == 200
    history = eventually(lambda: _history(api, service, 3), what="the record of the candidate")
    record = next(one for one in history if one["change"] == "propose")
    assert (record["status"], record["outcome"]) == ("Failed", taken["reason"])


def test_a_candidate_is_discarded_during_its_canary(api: Any, name: str, write_driver: Callable[..., Path]) -> None:
    """No request fails, and those that follow are answered by the deployment that serves."""
    old, new = (
        api.image(write_driver(SAYS.format(word=word, fails=False), word), name=f"{name}-{word}")["id"]
        for word in ("old", "new")
    )
    service = api.service(old, name)
    path = f"/services/{service['id']}"
    key = api.get(f"{path}/keys")["primaryKey"]
    callers = Callers([service["scoringUri"]], key)
    try:
        for _ in range(5):
            assert api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": new}))["state"] == "Succeeded"
            steps = {"steps": [{"share": 50, "minutes": 60}], "maxP95": None, "maxErrors": None}
            assert api.request("PUT", f"{path}/candidate/canary", json=steps).status_code == 200
            eventually(lambda: set(callers.count(20)) == {"old", "new"}, what="the answers of the candidate")
            assert api.request("DELETE", f"{path}/candidate").status_code == 200
            assert {api.score(service, "{}", key).json() for _ in range(20)} == {"old"}
        assert set(callers.count(20)) == {"old"}
        assert callers.failed == []
    finally:
        callers.stop()


def test_a_canary_waits_for_the_port_of_its_candidate(
    start_service: Callable[..., Any], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    """Another program may use it after a restart, which says nothing about the candidate."""
    api = start_service(home=tmp_path / "home")
    old, new = (
        api.image(write_driver(SAYS.format(word=word, fails=False), word), name=word)["id"] for word in ("old", "new")
    )
    service = api.service(old, "waits")
    path = f"/services/{service['id']}"
    assert api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": new}))["state"] == "Succeeded"
    candidate = api.get(f"{path}/candidate")
    key = api.get(f"{path}/keys")["primaryKey"]
    steps = {"steps": [{"share": 50, "minutes": 60}], "maxP95": None}
    assert api.request("PUT", f"{path}/candidate/canary", json=steps).status_code == 200
    api.stop()
    port = urlsplit(candidate["scoringUri"])
    with socket.create_server((port.hostname or "", port.port or 0)):
        api.start()
        eventually(lambda: trouble(api, f"{path}/candidate", "PortTaken"), what="the report")
        eventually(lambda: _answer(api, service, key) == "old", what="the answer of the current deployment")
        assert {api.score(service, "{}", key).json() for _ in range(10)} == {"old"}
    eventually(lambda: {_answer(api, service, key) for _ in range(4)} == {"old", "new"}, what="both answers")
    found = api.get(f"{path}/candidate")
    assert (found["canary"]["state"], found["error"]) == ("Running", None)


def test_a_canary_wakes_a_service_and_a_candidate_that_sleep(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    """The candidate gets requests once it has a replica, and neither falls asleep during the canary."""
    api = start_service("--calm-seconds", "0.5")
    old, new = (api.image(write_driver(SAYS.format(word=word, fails=False), word))["id"] for word in ("old", "new"))
    service = api.service(old, autoScaler={"autoscaleEnabled": True, "minReplicas": 0})
    path = f"/services/{service['id']}"
    key = api.get(f"{path}/keys")["primaryKey"]
    assert api.operation(api.request("PUT", f"{path}/candidate", json={"imageId": new}))["state"] == "Succeeded"

    def scales() -> list[int]:
        return [api.get(side)["numReplicas"] for side in (path, f"{path}/candidate")]

    eventually(lambda: scales() == [0, 0], what="falling asleep")
    steps = {"steps": [{"share": 50, "minutes": 60}], "maxP95": None, "maxErrors": None}
    assert api.request("PUT", f"{path}/candidate/canary", json=steps).status_code == 200

    def answers() -> set[str]:
        return {api.score(service, "{}", key).json() for _ in range(4)}

    eventually(lambda: answers() == {"old", "new"}, what="the answers of the candidate")
    assert scales() == [1, 1]
    assert api.request("DELETE", f"{path}/candidate/canary").status_code == 200
    eventually(lambda: scales() == [0, 0], what="falling asleep again")
    assert answers() == {"old"}


def _answer(api: Any, service: Any, key: str) -> str:
    """Return the answer of a service; empty while it does not listen yet."""
    try:
        return str(api.score(service, "{}", key).json())
    except requests.ConnectionError:
        return ""


def _state(api: Any, path: str, state: str) -> Any:
    canary = api.get(f"{path}/candidate")["canary"]
    return canary if canary["state"] == state else None


def _history(api: Any, service: Any, number: int) -> Any:
    found = api.get("/deployments", serviceId=service["id"])
    return found if len(found) == number else None
