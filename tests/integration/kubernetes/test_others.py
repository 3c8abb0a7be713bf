"""What others do to the objects of a service in a namespace: labels removed and copied, removals refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import SAYS, answers, score, serve
from tests.support.kubernetes import ClusterProcess
from tests.support.waiting import eventually

OURS = "mlmgmt-nb/service"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES, PODS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/pods"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def test_labels_and_refusals_of_others(
    cluster: ClusterProcess, service: ServiceProcess, images: Callable[[str], Any]
) -> None:
    image = images(SAYS.format(word="first"))
    made, other = (serve(service, image, name) for name in ("touched", "untouched"))
    selector = f"{OURS}={made['id']}"

    def found(path: str) -> list[Any]:
        items: list[Any] = cluster.api("GET", path, labelSelector=selector)["items"]
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    (deployment,), (pod,) = found(DEPLOYMENTS), found(PODS)
    name, orphan = deployment["metadata"]["name"], f"{PODS}/{pod['metadata']['name']}"
    without = {"metadata": {"labels": {OURS: None}}}
    cluster.api("PATCH", f"{DEPLOYMENTS}/{name}", without)
    eventually(lambda: found(DEPLOYMENTS), 30, "the label of the Deployment")
    cluster.api("PATCH", orphan, without)
    eventually(lambda: found(PODS), 30, "another pod")
    # Ready is not enough: the service directs requests to it a moment later.
    eventually(lambda: answers(service, made), 60, "an answer of the other pod")

    # Its name comes after that of the service in each list.
    labels = deployment["metadata"]["labels"]
    spec = {"selector": deployment["spec"]["selector"]["matchLabels"], "ports": [{"port": 80}]}
    cluster.api(
        "POST",
        SERVICES,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "z-public", "labels": labels}, "spec": spec},
    )
    changed = service.request("PUT", f"/services/{made['id']}", json={"environment": {"WORD": "new"}})
    assert service.operation(changed)["state"] == "Succeeded"
    assert score(service, made)[1] == "new"
    cluster.api("DELETE", orphan)

    with _no_removals(cluster, made):
        service.request("DELETE", f"/services/{made['id']}")
        log = service.home / "logs"
        eventually(lambda: _refusal_in(log), 60, "a line about the refusal")
        assert service.get(f"/services/{other['id']}")["error"] is None
        assert service.operation(
            service.request("PUT", f"/services/{other['id']}", json={"environment": {"WORD": "x"}})
        )
        assert score(service, other)[1] == "x"
        assert found(DEPLOYMENTS)
    eventually(lambda: not found(DEPLOYMENTS), 60, "the removal")
    eventually(lambda: [each["metadata"]["name"] for each in found(SERVICES)] == ["z-public"], 60, "all but the copy")
    cluster.api("DELETE", f"{SERVICES}/z-public")
    service.request("DELETE", f"/services/{other['id']}")


@contextmanager
def _no_removals(cluster: ClusterProcess, made: Any) -> Iterator[None]:
    """Have a webhook that does not respond decide on the removal of the Deployment of a service."""
    deployments = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    webhook = {
        "name": "away.example.org",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"operations": ["DELETE"], **deployments}],
        "objectSelector": {"matchLabels": {OURS: made["id"]}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    cluster.api("POST", WEBHOOKS, {**body, "metadata": {"name": "away"}, "webhooks": [webhook]})
    try:
        yield
    finally:
        cluster.api("DELETE", f"{WEBHOOKS}/away")


def _refusal_in(folder: Any) -> bool:
    files = [each for each in folder.rglob("*") if each.is_file()]
    return any(b"cannot be removed from the cluster" in each.read_bytes() for each in files)
