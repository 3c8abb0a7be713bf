"""What the cluster refuses, what it cannot find, and the last words of containers that end at once."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from mlmgmt_nb.client.monitoring.stages import Stage
from tests.conftest import ServiceProcess, mlmgmt
from tests.integration.kubernetes.helpers import SAYS, build, serve
from tests.integration.kubernetes.helpers import configure as configure_clusters
from tests.support.kubernetes import ClusterProcess
from tests.support.searches import long_search
from tests.support.waiting import eventually

Images = Callable[[str], Any]
NAMESPACES = ("tight", "keyless")
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/tight"
EXITS = """import os

def init():
    print("first words")
    print("last words of a container that exits with {code}")
    os._exit({code})

def run(body):
    return body
"""
PRINTS = """import os

def init():
    pass

def run(body):
    for number in range(int(body)):
        print("line", number)
    os._exit(9)
"""


@pytest.fixture
def tight(cluster: ClusterProcess, service: ServiceProcess, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Make namespaces that refuse much; return a function that configures computes in them."""
    file = service.home / "clusters.toml"
    for name in NAMESPACES:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        cluster.api("POST", "/api/v1/namespaces", body)
    before = file.read_text()

    def configure(*tables: str) -> None:
        configure_clusters(file, "\n".join([before, *tables]))

    yield configure
    configure_clusters(file, before)
    for name in NAMESPACES:
        cluster.api("DELETE", f"/api/v1/namespaces/{name}")
    eventually(lambda: not namespaces(cluster) & {*NAMESPACES}, 60, "the end of the namespaces")


def namespaces(cluster: ClusterProcess) -> set[str]:
    return {each["metadata"]["name"] for each in cluster.api("GET", "/api/v1/namespaces")["items"]}


def create(service: ServiceProcess, image: Any, name: str, compute: str, **more: Any) -> Any:
    return service.create(image["id"], name, computeResource={"id": compute, "type": "Cluster"}, **more)


@pytest.fixture
def image_for(service: ServiceProcess, tmp_path: Path) -> Callable[[str], Any]:
    """Build images of the same driver for other computes."""

    def image(compute: str) -> Any:
        folder = tmp_path / "driver"
        folder.mkdir(exist_ok=True)
        (folder / "score.py").write_text(SAYS.format(word="first"))
        return build(service, folder, compute, compute)

    return image


def quota(cluster: ClusterProcess, **hard: str) -> None:
    """Limit the namespace, and wait until the cluster enforces it."""
    quotas = "/api/v1/namespaces/tight/resourcequotas"
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    cluster.api("POST", quotas, body)
    eventually(lambda: cluster.api("GET", f"{quotas}/q").get("status", {}).get("hard"), 30, "the quota")


def test_what_a_namespace_refuses_is_one_sentence(
    cluster: ClusterProcess, service: ServiceProcess, image_for: Images, tight: Callable[..., None]
) -> None:
    """A quota for pods, another for objects, a secret that does not exist: each ends its operation at once."""
    missing = {"containers": [{"name": "scoring", "envFrom": [{"secretRef": {"name": "nowhere"}}]}]}
    tight(
        cluster.settings("tight", name="small"),
        cluster.settings("keyless", name="keyless"),
        f"[keyless.pod-fields]\nspec = {as_toml(missing)}\n",
    )
    quota(cluster, pods="0")
    made = {compute: image_for(compute) for compute in ("small", "keyless")}
    began = time.monotonic()
    asked = {compute: create(service, image, compute, compute) for compute, image in made.items()}
    said = {
        "small": (
            "QuotaExceeded",
            r"^The cluster refuses pods: exceeded quota: q, requested: pods=1, .* limited: pods=0\.$",
        ),
        "keyless": ("CreateContainerConfigError", r'^The container cannot be created: secret "nowhere" not found'),
    }
    for name, (code, words) in said.items():
        ended = service.operation(asked[name])
        assert ended["error"]["code"] == code, ended["error"]
        assert re.search(words, ended["error"]["message"]), ended
    cluster.api("DELETE", "/api/v1/namespaces/tight/resourcequotas/q")
    quota(cluster, **{"count/deployments.apps": "0"})
    ended = service.operation(create(service, made["small"], "none", "small"))
    assert ended["error"]["code"] == "Forbidden", ended
    assert re.search(r"^The cluster refused the request: .*exceeded quota: q, .*\.$", ended["error"]["message"]), ended
    assert time.monotonic() - began < 60


def test_progress_says_what_pods_wait_for(
    cluster: ClusterProcess, service: ServiceProcess, image_for: Images, tight: Callable[..., None]
) -> None:
    """While the scheduler finds no node, and while the driver loads; the last line is that of the client's progress."""
    tight(cluster.settings("tight", name="busy"), '[busy.pod-fields]\nspec = {schedulerName = "busy"}\n')
    accepted = create(service, image_for("busy"), "waits", "busy")
    log = service.get(accepted.headers["Operation-Location"])["resourceLocation"] + "/logs"

    def stage() -> str:
        found = Stage()
        found.read(service.log(log).splitlines())
        return str(found)

    eventually(lambda: stage() == "pods ready 0/1: 1 waiting for a node", 30, "a pod without a node")
    pods = "/api/v1/namespaces/tight/pods"
    name = cluster.api("GET", pods)["items"][0]["metadata"]["name"]
    target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    cluster.api("POST", f"{pods}/{name}/binding", binding)
    ended = service.operation(accepted)
    assert ended["state"] == "Succeeded", ended
    assert stage() == "pods ready 1/1"
    service.request("DELETE", f"/services/{ended['resourceLocation'].rpartition('/')[2]}")


def as_toml(value: Any) -> str:
    """Return a value as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {as_toml(each)}" for name, each in value.items()) + "}"
    return "[" + ", ".join(map(as_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def test_permissions_that_are_taken_away(
    cluster: ClusterProcess, service: ServiceProcess, image_for: Images, tight: Callable[..., None], tmp_path: Path
) -> None:
    """An operation that was accepted ends with the words of the cluster; then new ones are refused at once."""
    kubeconfig = account(cluster, tmp_path)
    tight(
        cluster.settings("tight", context="limited", name="limited").replace(str(cluster.kubeconfig), str(kubeconfig))
    )
    image = image_for("limited")
    assert state_of(service, "limited")["state"] == "ready"
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]
    cluster.api("PATCH", f"{RBAC}/roles/limited", {"rules": rules})
    ended = service.operation(create(service, image, "denied", "limited"))
    assert ended["error"]["code"] == "Forbidden", ended
    words = r'^The cluster refused the request: .*"system:serviceaccount:tight:limited" cannot patch resource'
    assert re.search(words, ended["error"]["message"]), ended
    reason = eventually(lambda: state_of(service, "limited")["reason"], 60, "what it lacks")
    assert re.search(r"lack permissions in namespace 'tight': .*create,patch,delete deployments\.apps", reason)
    refused = create(service, image, "again", "limited")
    assert (refused.status_code, refused.json()["code"]) == (409, "Forbidden"), refused.text


def state_of(service: ServiceProcess, compute: str) -> Any:
    return next(each for each in service.get("/computes")["value"] if each["id"] == compute)


def account(cluster: ClusterProcess, folder: Path) -> Path:
    """Make a service account that may do everything in the namespace; return a kubeconfig with its token."""
    group = "rbac.authorization.k8s.io"
    name = {"metadata": {"name": "limited"}}
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    role = {"apiGroup": group, "kind": "Role", "name": "limited"}
    subjects = [{"kind": "ServiceAccount", "name": "limited", "namespace": "tight"}]
    binding = {"kind": "RoleBinding", **name, "roleRef": role, "subjects": subjects}
    cluster.api(
        "POST", "/api/v1/namespaces/tight/serviceaccounts", {"kind": "ServiceAccount", "apiVersion": "v1", **name}
    )
    cluster.api("POST", f"{RBAC}/roles", {"apiVersion": f"{group}/v1", "kind": "Role", **name, "rules": rules})
    cluster.api("POST", f"{RBAC}/rolebindings", {"apiVersion": f"{group}/v1", **binding})
    secrets = "/api/v1/namespaces/tight/secrets"
    ours = "kubernetes.io/service-account.name"
    found = eventually(
        lambda: [
            each
            for each in cluster.api("GET", secrets)["items"]
            if each["metadata"].get("annotations", {}).get(ours) == "limited" and "token" in (each.get("data") or {})
        ],
        30,
        "its token",
    )
    token = base64.b64decode(found[0]["data"]["token"]).decode()
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    context = {"cluster": content["clusters"][0]["name"], "user": "limited", "namespace": "tight"}
    content["contexts"].append({"name": "limited", "context": context})
    content["users"].append({"name": "limited", "user": {"token": token}})
    file = folder / "kubeconfig"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize(("code", "reported"), [(3, "DriverInitError"), (7, "PodExited")])
def test_last_words(service: ServiceProcess, images: Images, code: int, reported: str) -> None:
    """A container that ends at once after it printed: the operation has its last line, and the log has all of them."""
    words = f"last words of a container that exits with {code}"
    # Kubernetes reads the last lines of a log when the container ends: on a busy node before they are written.
    for name in (f"exits-{code}", f"exits-{code}-again", f"exits-{code}-once-more"):
        ended = service.operation(create(service, images(EXITS.format(code=code)), name, "kubernetes"), timeout=90)
        assert ended["error"]["code"] == reported, ended
        if words in ended["error"]["message"]:
            break
    assert words in ended["error"]["message"]
    log = service.log(ended["resourceLocation"] + "/logs")
    assert "first words" in log
    assert log.count(words) >= 1
    assert re.search(rf"{name}-\S+: \[kubernetes\] \S+Z exit code {code}: Error", log), log
    assert re.search(rf"{name}-\S+: \[kubernetes\] \S+Z Started: Started container scoring", log), log


def test_the_log_has_the_words_of_earlier_containers_and_events(
    cluster: ClusterProcess, service: ServiceProcess, images: Images
) -> None:
    """The lines of a container that ends while it serves, how it ended, and events of all objects with their times."""
    made = serve(service, images(PRINTS), "ends")
    path = f"/services/{made['id']}/logs"
    eventually(lambda: ends_unanswered(service, made, "50"), 30, "a request that gets to the pod")
    eventually(lambda: "exit code 9" in service.log(path), 60, "the end of the container")
    eventually(lambda: "] line 49\n" in service.log(path), 30, "its last words")
    lines = service.log(path).splitlines()
    said = [int(found[1]) for line in lines if (found := re.search(r"^ends-\S+: .*\] line (\d+)$", line))]
    assert said == list(range(50)), "each line once, in order"
    for event in ("Scheduled", "Pulled", "Started", "ScalingReplicaSet", "SuccessfulCreate"):
        assert any(re.search(rf"^ends-\S+: \[kubernetes\] 20\S+Z {event}: ", line) for line in lines), event
    service.request("DELETE", f"/services/{made['id']}")


@long_search
def test_the_log_tells_of_containers_whose_words_are_gone(
    cluster: ClusterProcess, service: ServiceProcess, images: Images
) -> None:
    """The cluster keeps the log of one earlier container. Two of them end while the service is away."""
    made = serve(service, images(PRINTS), "twice")
    path = f"/services/{made['id']}/logs"
    key = service.get(f"/services/{made['id']}/keys")["primaryKey"]
    port = listed(cluster, "services", made)[0]["spec"]["ports"][0]["nodePort"]
    url = f"http://127.0.0.1:{port}/api/v1/service/twice/score"
    service.kill()
    try:
        eventually(lambda: _restarts_after_a_call(cluster, made, url, key) >= 2, 120, "two restarts")
    finally:
        service.start()
    told = r"the log of (\d+) earlier containers? is gone: the container restarted (\d+) times between two reads"
    found = eventually(lambda: re.search(told, service.log(path)), 60, "the line about it")
    assert int(found[2]) == int(found[1]) + 1 >= 2
    assert "] line 4\n" in service.log(path), "the words of the last one are there"
    service.request("DELETE", f"/services/{made['id']}")


def _restarts_after_a_call(cluster: ClusterProcess, made: Any, url: str, key: str) -> int:
    """Let a container end, if one runs; return the number of restarts so far."""
    # A node may accept a connection for nobody, shortly before it knows of a pod that became ready.
    with suppress(requests.ConnectionError, requests.Timeout):
        requests.post(url, data="5", headers={"authorization": f"Bearer {key}"}, timeout=5)
    pods = listed(cluster, "pods", made)
    return max((pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods), default=0)


def listed(cluster: ClusterProcess, kind: str, made: Any) -> list[Any]:
    """Return the objects of a kind that a service has in the cluster."""
    path = f"/api/v1/namespaces/default/{kind}"
    return list(cluster.api("GET", path, labelSelector=f"mlmgmt-nb/service={made['id']}")["items"])


def ends_unanswered(service: ServiceProcess, made: Any, body: str) -> bool:
    """Return whether a connection ends without an answer. A busy machine may refuse it first: no pod is ready."""
    try:
        answer = service.score(made, body)
    except requests.ConnectionError:
        return True
    assert answer.status_code == 503, answer.text
    return False


def test_gc_leaves_images_to_the_registry(service: ServiceProcess, images: Images) -> None:
    image = images(EXITS.format(code=7))
    digest = service.get(f"/images/{image['id']}")["docker"]["digest"]
    shown = mlmgmt("gc", "--home", service.home, "--older-than", "0")
    assert re.search(
        rf"^Images in a registry stay there; remove them with its own tools: .*@{digest}", shown, re.MULTILINE
    )
