"""The loss of a node: the other one goes on answering."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import SAYS, Load, serve
from tests.support.kubernetes import ClusterProcess
from tests.support.searches import long_search
from tests.support.waiting import eventually


def ready_nodes(cluster: ClusterProcess, service: Any) -> set[str]:
    """Return the nodes with a ready pod of a service."""
    path = "/api/v1/namespaces/default/pods"
    pods = cluster.api("GET", path, labelSelector=f"mlmgmt-nb/service={service['id']}")["items"]
    return {pod["spec"]["nodeName"] for pod in pods if is_true(pod, "Ready")}


def is_true(found: Any, condition: str) -> bool:
    conditions = found["status"].get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


@pytest.mark.parametrize(
    ("lose", "restore"),
    # Of a node that is cut off, nobody hears that it refuses connections: the harder way to lose one comes first.
    [("cut", "heal"), pytest.param("stop", "start", marks=long_search)],
)
def test_the_other_node_goes_on_answering(
    cluster: ClusterProcess, service: ServiceProcess, images: Callable[[str], Any], lose: str, restore: str
) -> None:
    """Of requests at the front door, only those in progress there fail: also before the cluster knows of the loss."""
    made = serve(service, images(SAYS.format(word="first")), f"node-{lose}", numReplicas=2)
    path = f"/services/{made['id']}"
    log = f"{path}/logs"
    eventually(lambda: ready_nodes(cluster, made) == {"n1", "n2"}, 20, "a pod on each node")
    try:
        with ExitStack() as stack:
            loads = [stack.enter_context(Load(service, made)) for _ in range(3)]
            eventually(lambda: min(len(load.answers) for load in loads) > 10, 30, "answers of both nodes")
            cluster.run("node", lose, "2")
            lost = time.monotonic()
            told = service.log(log).count("called with")
            eventually(lambda: service.log(log).count("called with") > told, 60, "lines of the other node")
            eventually(lambda: ready_nodes(cluster, made) == {"n1"}, 90, "the loss, as the cluster sees it")
            assert (service.get(path)["error"] or {}).get("code") != "ClusterUnavailable"
            before = [len(load.answers) for load in loads]
            progress = list(zip(loads, before, strict=True))
            eventually(lambda: all(len(load.answers) > count + 10 for load, count in progress), 60, "answers")
        assert all(len(load.failures) <= 1 for load in loads), [load.failures for load in loads]
        late = [began - lost for load in loads for began in load.failed_at if began > lost]
        assert late == [], [load.failures for load in loads]
    finally:
        cluster.run("node", restore, "2")
        eventually(lambda: all(is_true(node, "Ready") for node in cluster.api("GET", "/api/v1/nodes")["items"]), 60)
    eventually(lambda: ready_nodes(cluster, made) == {"n1", "n2"}, 90, "a pod on each node again")
    service.request("DELETE", path)
