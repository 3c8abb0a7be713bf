"""Autoscaled services on compute `kubernetes`: by us, and by the cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import Load, configure, create, score, serve
from tests.support.kubernetes import ClusterProcess
from tests.support.waiting import eventually

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SLEEPS = "import time\n\ndef init():\n    pass\n\ndef run(body):\n    time.sleep(0.3)\n    return body\n"


def scale_of(cluster: ClusterProcess, service: Any) -> Any:
    (found,) = cluster.api("GET", DEPLOYMENTS, labelSelector=f"mlmgmt-nb/service={service['id']}")["items"]
    return found["spec"]["replicas"]


def test_a_service_scales_up_and_to_zero_and_wakes(
    cluster: ClusterProcess, service: ServiceProcess, images: Callable[[str], Any]
) -> None:
    auto = {"autoscaleEnabled": True, "minReplicas": 0, "maxReplicas": 2, "targetUtilization": 30}
    auto["refreshPeriodInSeconds"] = 1
    made = serve(service, images(SLEEPS), "scaled", autoScaler=auto, maxConcurrentRequestsPerContainer=4)
    url = f"/services/{made['id']}"
    with Load(service, made) as first, Load(service, made) as second:
        eventually(lambda: scale_of(cluster, made) == 2, 30, "the second pod")
        eventually(lambda: service.get(url)["numReplicas"] == 2, 10, "its number")
    assert first.failures == second.failures == []
    eventually(lambda: scale_of(cluster, made) == 0, 60, "falling asleep")
    generation = len(re.findall("pods ready", service.log(f"{url}/logs")))
    assert score(service, made) == 1, "the request that wakes it is answered"
    assert service.get(url)["numReplicas"] == 1
    assert len(re.findall("pods ready", service.log(f"{url}/logs"))) == generation, "waking is no rollout"
    changes = re.findall(r"autoscaler: (\d+) -> (\d+) replicas", service.log(f"{url}/logs"))
    assert {("1", "2"), ("2", "1"), ("1", "0"), ("0", "1")} <= set(changes)
    service.request("DELETE", url)


def test_the_cluster_may_scale_instead(
    cluster: ClusterProcess, service: ServiceProcess, images: Callable[[str], Any]
) -> None:
    """A service with a fixed number of pods is handed to the autoscaler of the cluster, and keeps its pods."""
    file = service.home / "clusters.toml"
    before = file.read_text()
    room = {"containerResourceReservation": {"cpu": "100m"}}
    made = serve(service, images(SLEEPS), "handed", numReplicas=2, **room)
    configure(file, cluster.settings("default", hpa=True))
    try:
        image, auto = images(SLEEPS), {"autoscaleEnabled": True, "maxReplicas": 3, "targetUtilization": 50}
        refusals: dict[str, dict[str, Any]] = {
            "minReplicas": {"autoScaler": {**auto, "minReplicas": 0}, **room},
            "refreshPeriodInSeconds": {"autoScaler": {**auto, "refreshPeriodInSeconds": 5}, **room},
            "containerResourceReservation.cpu": {"autoScaler": auto},
        }
        for field, settings in refusals.items():
            refused = create(service, image, "refused", **settings)
            assert (refused.status_code, field in refused.json()["message"]) == (409, True), refused.text
        ended = service.operation(service.request("PUT", f"/services/{made['id']}", json={"autoScaler": auto}))
        assert ended["state"] == "Succeeded", ended
        kept = scale_of(cluster, made)
        selector = f"mlmgmt-nb/service={made['id']}"
        scalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
        (scaler,) = cluster.api("GET", scalers, labelSelector=selector)["items"]
        # On a busy machine, the cluster has already decided by now that one pod is enough.
        assert kept == 2 or scaler["status"].get("lastScaleTime"), scaler
        assert scaler["spec"]["targetCPUUtilizationPercentage"] == 50
        # A decision of the cluster that needs no minutes of load.
        more = {"autoScaler": {"minReplicas": 3}}
        ended = service.operation(service.request("PUT", f"/services/{made['id']}", json=more))
        assert ended["state"] == "Succeeded", ended
        eventually(lambda: service.get(f"/services/{made['id']}")["numReplicas"] == 3, 30, "its number")
        assert scale_of(cluster, made) == 3
        # Without the setting, we decide again, and the autoscaler of the cluster goes.
        configure(file, before)
        eventually(lambda: not cluster.api("GET", scalers, labelSelector=selector)["items"], 30, "the end of it")
        assert score(service, made) == 1
    finally:
        configure(file, before)
        service.request("DELETE", f"/services/{made['id']}")
