"""Candidates and canaries of services on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import serve
from tests.support.callers import Callers
from tests.support.kubernetes import ClusterProcess
from tests.support.searches import long_search
from tests.support.waiting import eventually

SAYS = "def init():\n    pass\n\ndef run(body):\n    return {word!r}\n"
_PODS, _SERVICES = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"
_CANDIDATES = "app.kubernetes.io/component=candidate,app.kubernetes.io/name=tried"


@long_search  # the same on compute `local` is not
def test_a_candidate_answers_an_exact_share_and_is_promoted_or_discarded(
    cluster: ClusterProcess, service: ServiceProcess, images: Callable[[str], Any]
) -> None:
    """Callers keep their connections all the time, and no request fails."""
    made = serve(service, images(SAYS.format(word="old")), "tried")
    path = f"/services/{made['id']}"
    proposal = {"imageId": images(SAYS.format(word="new"))["id"]}
    assert service.operation(service.request("PUT", f"{path}/candidate", json=proposal))["state"] == "Succeeded"
    assert len(_candidates(cluster)) == 2, "its pod and its Service"
    candidate = service.get(f"{path}/candidate")
    assert service.score(candidate, "1").json() == "new"
    assert service.score(made, "1").json() == "old"

    callers = Callers([made["scoringUri"]], service.get(f"{path}/keys")["primaryKey"])
    try:
        assert set(callers.count(20)) == {"old"}
        _canary(service, path, 25)
        eventually(lambda: set(callers.count(20)) == {"old", "new"}, 20, "the first answers of the candidate")
        said = callers.count(400)
        assert abs(said["new"] - said.total() / 4) <= 4, said  # exact, but for calls that are under way
        _canary(service, path, 100)
        eventually(lambda: set(callers.count(20)) == {"new"}, 20, "the full share")
        assert service.request("DELETE", f"{path}/candidate/canary").status_code == 200
        eventually(lambda: set(callers.count(20)) == {"old"}, 20, "the end of the canary")
        assert service.operation(service.request("POST", f"{path}/candidate/promote"))["state"] == "Succeeded"
        eventually(lambda: set(callers.count(20)) == {"new"}, 40, "the promoted deployment")
        assert callers.failed == []
    finally:
        callers.stop()
    eventually(lambda: not _candidates(cluster), 60, "the end of the candidate")

    # A discarded one leaves nothing.
    proposal = {"imageId": images(SAYS.format(word="old"))["id"]}
    assert service.operation(service.request("PUT", f"{path}/candidate", json=proposal))["state"] == "Succeeded"
    assert service.request("DELETE", f"{path}/candidate").status_code == 200
    eventually(lambda: not _candidates(cluster), 60, "the end of the candidate")
    assert service.score(made, "1").json() == "new"
    service.request("DELETE", path)


def _canary(service: ServiceProcess, path: str, share: int) -> None:
    lenient = {"maxP95": None, "maxErrors": 0.2, "steps": [{"share": share, "minutes": 60}]}
    answer = service.request("PUT", f"{path}/candidate/canary", json=lenient)
    assert answer.status_code == 200, answer.text


def _candidates(cluster: ClusterProcess) -> list[Any]:
    return [
        each for kind in (_PODS, _SERVICES) for each in cluster.api("GET", kind, labelSelector=_CANDIDATES)["items"]
    ]
