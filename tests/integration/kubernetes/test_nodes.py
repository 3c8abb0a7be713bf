"""The loss of a node: the other one goes on answering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import SAYS, Load, answers, serve
from tests.support.kubernetes import ClusterProcess
from tests.support.waiting import eventually


def ready_nodes(cluster: ClusterProcess, service: Any) -> set[str]:
    """Return the nodes with a ready pod of a service."""
    path = "/api/v1/namespaces/default/pods"
    pods = cluster.api("GET", path, labelSelector=f"mlmgmt-nb/service={service['id']}")["items"]
    return {pod["spec"]["nodeName"] for pod in pods if is_true(pod, "Ready")}


def is_true(found: Any, condition: str) -> bool:
    conditions = found["status"].get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


@pytest.mark.parametrize(("lose", "restore"), [("stop", "start"), ("cut", "heal")])
def test_the_other_node_goes_on_answering(
    cluster: ClusterProcess, service: ServiceProcess, images: Callable[[str], Any], lose: str, restore: str
) -> None:
    """Requests that the cluster still sends to the lost node fail; once it knows, none does."""
    made = serve(service, images(SAYS.format(word="first")), f"node-{lose}", numReplicas=2)
    eventually(lambda: ready_nodes(cluster, made) == {"n1", "n2"}, 20, "a pod on each node")
    try:
        cluster.run("node", lose, "2")
        eventually(lambda: ready_nodes(cluster, made) == {"n1"}, 60, "the loss, as the cluster sees it")
        eventually(lambda: all(answers(service, made) for _ in range(5)), 20, "answers of the other node")
        with Load(service, made) as load:
            eventually(lambda: len(load.answers) > 50, 30, "answers")
        assert load.failures == []
    finally:
        cluster.run("node", restore, "2")
        eventually(lambda: all(is_true(node, "Ready") for node in cluster.api("GET", "/api/v1/nodes")["items"]), 60)
    eventually(lambda: ready_nodes(cluster, made) == {"n1", "n2"}, 90, "a pod on each node again")
    service.request("DELETE", f"/services/{made['id']}")
