"""A changed service on compute `docker`: candidate, mirror, canary, promotion, recorded requests, and their end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb import connect
from mlmgmt_nb.client.services.candidates import ProposedChange
from tests.conftest import ServiceProcess
from tests.integration.docker.helpers import build, containers, serve
from tests.support.callers import Callers
from tests.support.engine import BASE, Registry
from tests.support.waiting import eventually

DRIVER = """\
import os

def init():
    pass

def run(body):
    return os.environ["WORD"]
"""


@pytest.mark.long_search
def test_a_change_from_its_proposal_to_its_promotion(
    service: ServiceProcess, engine: Any, write_driver: Callable[..., Path], name: str
) -> None:
    """One image is both deployments: a variable of theirs tells them apart."""
    others = _replicas(engine, service)
    image = build(service, write_driver(DRIVER), name)
    made = serve(service, image, name, environment={"WORD": "old"}, recording={"enabled": True})
    workspace = connect(base_url=service.base_url, token=service.token, compute="docker")
    first = _replicas(engine, service) - others
    change = workspace.services.start_candidate(name, image=image["id"], environment={"WORD": "new"}).result(120)
    second = _replicas(engine, service) - first - others
    assert (len(first), len(second)) == (1, 1)
    assert change.run({}) == "new"

    callers = Callers([made["scoringUri"]], workspace.services.keys(name).primary_key or "")
    try:
        change.mirror(minutes=60, requests=30)
        eventually(lambda: _mirror(change).state == "Ended", what="the end of the mirror")
        report = change.mirror_report()
        assert (report.summary["requests"], report.summary["errors"]) == (30, 0)
        assert report.classes("answer").loc["old", "new"] == 30
        assert set(callers.count(50)) == {"old"}

        change.canary(25, max_p95=None)
        eventually(lambda: set(callers.count(20)) == {"old", "new"}, what="the first answers of the candidate")
        said = callers.count(400)
        assert abs(said["new"] - said.total() / 4) <= 4, said  # exact, but for calls that are under way

        assert change.promote().result(60).environment == {"WORD": "new"}
        eventually(lambda: set(callers.count(20)) == {"new"}, what="the last answer of the old deployment")
        assert callers.failed == []
    finally:
        callers.stop()
    eventually(lambda: _replicas(engine, service) - others == second, what="the end of the old replica")
    eventually(lambda: {"old", "new"} <= set(workspace.services.requests(name, last=5000)["answer"]), what="recordings")
    recorded = workspace.services.requests(name, last=5000)
    assert set(recorded.groupby("deployment_id")["answer"].nunique()) == {1}, "a deployment has its own answers only"

    left = [service.home / "requests" / made["id"], service.home / "mirrors" / (change.candidate.id or "")]
    assert left[0].exists()
    assert service.request("DELETE", f"/services/{made['id']}").status_code == 200
    eventually(lambda: not _replicas(engine, service) - others, what="the end of its replicas")
    eventually(lambda: not any(path.exists() for path in left), what="the end of its files")


@pytest.mark.long_search
def test_a_canary_wakes_a_service_and_a_candidate_that_sleep(
    engine: Any, registry: Registry, write_driver: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """Neither falls asleep during the canary, and both do after it."""
    arguments = ("--base-image", BASE, "--registry", registry.host, "--calm-seconds", "1")
    service = ServiceProcess(tmp_path / "home", *arguments)
    try:
        image = build(service, write_driver(DRIVER), name)
        scaler = {"autoscaleEnabled": True, "minReplicas": 0}
        made = serve(service, image, name, environment={"WORD": "old"}, autoScaler=scaler)
        workspace = connect(base_url=service.base_url, token=service.token, compute="docker")
        change = workspace.services.start_candidate(name, environment={"WORD": "new"}).result(120)
        eventually(lambda: not _replicas(engine, service), what="falling asleep")
        change.canary(50, minutes=60, max_p95=None)
        key = workspace.services.keys(name).primary_key or ""

        def answers() -> set[str]:
            return {service.score(made, "1", key).json() for _ in range(4)}

        eventually(lambda: answers() == {"old", "new"}, what="the answers of the candidate")
        assert len(_replicas(engine, service)) == 2
        change.stop_canary()
        eventually(lambda: not _replicas(engine, service), what="falling asleep again")
        assert answers() == {"old"}
    finally:
        service.stop()


def _mirror(change: ProposedChange) -> Any:
    return change.refresh().candidate.mirror


def _replicas(engine: Any, api: ServiceProcess) -> set[str]:
    return {one["Id"] for one in containers(engine, api, ended=False)}
