"""The service itself in a pod: its image, its manifests, and what it may do in its namespace."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from mlmgmt_nb import Workspace, connect
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import MlmgmtError
from tests.conftest import mlmgmt
from tests.integration.kubernetes.helpers import SAYS, own_config
from tests.integration.kubernetes.in_cluster import (
    create_objects,
    push_base,
    read_manifests,
    with_ways_out,
    write_index,
)
from tests.support import postgresql
from tests.support.kubernetes import ClusterProcess
from tests.support.package_index import package_index
from tests.support.searches import long_search
from tests.support.waiting import eventually

NAMESPACE = "own"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@pytest.fixture
def volume(cluster: ClusterProcess, tmp_path: Path) -> Iterator[Path]:
    """Make a namespace, and a volume on a node as storage classes provide it: its root belongs to another user."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}
    spec = {
        "capacity": {"storage": "20Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": NAMESPACE}, "spec": spec}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    create_objects(cluster, [made, volume])
    yield folder
    cluster.api("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    cluster.api("DELETE", f"/api/v1/persistentvolumes/{NAMESPACE}")


def secret(name: str, **values: str) -> dict[str, Any]:
    data = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def ready_pod(cluster: ClusterProcess, labels: str, but: str = "") -> Any:
    """Return the first ready pod with these labels, and another id."""
    for pod in cluster.api("GET", PODS, labelSelector=labels)["items"]:
        conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
        if conditions.get("Ready") == "True" and pod["metadata"]["uid"] != but:
            return pod
    return None


@long_search
@pytest.mark.timeout(600)
def test_the_service_in_a_pod(
    cluster: ClusterProcess, base: Path, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deploys with its service account, and answers clients outside; its successor adopts what it deployed."""
    home, database = tmp_path / "home", postgresql.server().database("own")
    image = mlmgmt(
        *("export", "image", f"{cluster.registry}/own/mlmgmt:1", "--base-image", base, "--home", home)
    ).strip()
    assert image.startswith(f"{cluster.registry}/own/mlmgmt@sha256:")
    # Clients have to know the address before the service starts.
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "outside", "namespace": NAMESPACE},
        "spec": {
            "type": "NodePort",
            "selector": {"app.kubernetes.io/name": "mlmgmt"},
            "ports": [{"port": 443, "targetPort": 8443}],
        },
    }
    create_objects(cluster, [service])
    found = cluster.api("GET", f"/api/v1/namespaces/{NAMESPACE}/services/outside")
    url = f"https://127.0.0.1:{found['spec']['ports'][0]['nodePort']}"
    written = mlmgmt(
        *("export", "kubernetes", "--image", image, "--registry", f"{cluster.registry}/own", "--url", url),
        *("--base-image", push_base(base, f"{cluster.registry}/own/base", tmp_path / "blobs")),
        *("--namespace", NAMESPACE, "--tls-secret", "certificate", "--database-secret", "database"),
    )
    objects = read_manifests(written)
    index = tmp_path / "index"
    write_index(home, index)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain = "".join(pem.bytes().decode() for pem in certificate.cert_chain_pems)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with package_index(index, address=("127.0.0.1", cluster.index_port)) as packages, own_config(tmp_path):
        ports = [int(cluster.registry.rpartition(":")[2]), cluster.index_port, postgresql.server().port]
        with_ways_out(objects["Deployment"], cluster, ports, {"UV_INDEX_URL": packages})
        create_objects(
            cluster,
            [
                secret("certificate", tls_crt=chain, tls_key=certificate.private_key_pem.bytes().decode()),
                secret("database", url=database, password="any"),
                *objects.values(),
            ],
        )
        own = eventually(lambda: ready_pod(cluster, "app.kubernetes.io/name=mlmgmt"), 180, "the start of the service")
        token = volume / "state" / "token"
        eventually(token.exists, 60, "its token")
        for path in ("live", "ready"):  # as its probes ask
            health = f"{url}/health/{path}"
            assert eventually(lambda: _get(health), 60, "the way to the service") == {"status": "healthy"}  # noqa: B023
        account = f"{url}/api/subscriptions/local/resourceGroups/local/accounts/default"
        with connect(base_url=account, token=token.read_text(), compute="kubernetes") as workspace:
            assert {"id": "kubernetes", "state": "ready", "reason": None} in workspace.computes()
            driver = tmp_path / "score.py"
            driver.write_text(SAYS.format(word="inside"))
            made = workspace.deploy("says", driver=driver)
            assert made.scoring_uri == f"{url}/api/v1/service/says/score"
            assert workspace.services.run(made, 1)[0] == "inside"
            selector = f"mlmgmt-nb/service={made.id}"
            model = ready_pod(cluster, selector)
            assert "serviceAccountName" not in model["spec"] or model["spec"]["serviceAccountName"] == "default"
            (pod_service,) = cluster.api("GET", f"/api/v1/namespaces/{NAMESPACE}/services", labelSelector=selector)[
                "items"
            ]
            assert pod_service["spec"]["type"] == "ClusterIP"
            cluster.api("DELETE", f"{PODS}/{own['metadata']['name']}")
            eventually(
                lambda: ready_pod(cluster, "app.kubernetes.io/name=mlmgmt", but=own["metadata"]["uid"]),
                180,
                "its successor",
            )
            answer = eventually(lambda: _answer(workspace, made), 30, "an answer through the successor")
            assert answer[3] == model["metadata"]["name"], "the same pod"
            workspace.services.delete(made)
            eventually(lambda: not cluster.api("GET", PODS, labelSelector=selector)["items"], 60, "the end of its pods")


def _get(url: str) -> Any:
    """Return the JSON at a URL; None while the cluster does not lead there yet.

    Until Kubernetes 1.23, nodes listen at their node ports so that no other program does, without ever accepting. They
    change the rule that refuses connections shortly before the one that leads them to the pod: a connection just
    between the two is established, and nobody answers.
    """
    try:
        return requests.get(url, timeout=5).json()
    except (requests.ConnectionError, requests.Timeout):
        return None


def _answer(workspace: Workspace, made: Service) -> Any:
    try:
        return workspace.services.run(made, 1)
    except MlmgmtError:
        return None
