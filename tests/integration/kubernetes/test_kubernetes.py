"""Compute `kubernetes`, on a real cluster."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.kubernetes.api.connection import Connection
from mlmgmt_nb.service.compute.kubernetes.api.readiness import find_problem
from tests.conftest import ServiceProcess, mlmgmt
from tests.integration.kubernetes.helpers import SAYS, Load, answers, build, configure, create, own_config, score, serve
from tests.support.folders import paths_in
from tests.support.kubernetes import ClusterProcess, free_port
from tests.support.waiting import eventually

Images = Callable[[str], Any]
_SELECTOR = "mlmgmt-nb/service={}"
_KINDS = (
    *("/apis/apps/v1/namespaces/default/deployments", "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets"),
    *("/api/v1/namespaces/default/services", "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/pods"),
)


def objects(cluster: ClusterProcess, service: Any) -> list[Any]:
    """Return everything of a service in the cluster."""
    selector = _SELECTOR.format(service["id"])
    return [each for path in _KINDS for each in cluster.api("GET", path, labelSelector=selector)["items"]]


def lasting(cluster: ClusterProcess, service: Any) -> set[str]:
    """Return the ids of everything of a service, except for pods that were told to end."""
    return _lasting(objects(cluster, service))


def living_pods(cluster: ClusterProcess, service: Any) -> set[str]:
    """Return the ids of the pods of a service, except for those that were told to end."""
    return _lasting(cluster.api("GET", _KINDS[-1], labelSelector=_SELECTOR.format(service["id"]))["items"])


def _lasting(found: list[Any]) -> set[str]:
    return {each["metadata"]["uid"] for each in found if "deletionTimestamp" not in each["metadata"]}


def two_pods(cluster: ClusterProcess, service: Any) -> set[str]:
    """Return the ids of the two pods of a service, once those of an earlier change are told to end."""
    eventually(lambda: len(living_pods(cluster, service)) == 2, 60, "two pods")
    return living_pods(cluster, service)


def test_a_service_lives_in_the_cluster(cluster: ClusterProcess, service: ServiceProcess, images: Images) -> None:
    """Created, called with its keys, updated, logged, deleted: nothing of it is left."""
    made = serve(
        service, images(SAYS.format(word="first")), "says", environment={"WORD": "$(PATH)"}, secrets={"SECRET": "s"}
    )
    word, variable, secret, pod = score(service, made)
    assert (word, variable, secret) == ("first", "$(PATH)", "s")
    assert service.score(made, "1", "wrong").status_code == 401
    counted = 'mlmgmt_requests_total{account="local/local/default",service="says"} 1.0'
    metrics = eventually(lambda: _metrics_with(service, made, counted), 15, "its request")
    assert 'mlmgmt_replicas{account="local/local/default",service="says",state="ready"} 1.0' in metrics
    log = eventually(lambda: _log_with(service, made, "called with"), 10, "the log of the pod")
    assert f"{pod}: hello from $(PATH)" in log
    updated = service.operation(
        service.request("PUT", f"/services/{made['id']}", json={"imageId": images(SAYS.format(word="next"))["id"]})
    )
    assert updated["state"] == "Succeeded", updated
    assert score(service, made)[0] == "next"
    eventually(lambda: len(objects(cluster, made)) == 5, 30, "the end of the first pod")
    service.request("DELETE", f"/services/{made['id']}")
    eventually(lambda: not objects(cluster, made), 60, "the end of all objects")
    eventually(
        lambda: not [one for one in paths_in(service.home) if made["id"] in one.name], 30, "the end of all files"
    )


def _log_with(service: ServiceProcess, made: Any, text: str) -> str | None:
    log = service.log(f"/services/{made['id']}/logs")
    return log if text in log else None


def _metrics_with(service: ServiceProcess, made: Any, text: str) -> str | None:
    metrics = service.log(f"/services/{made['id']}/metrics")
    return metrics if text in metrics else None


_FAILS = "def init():\n    raise ValueError('a bad day')\n\ndef run(body):\n    return body\n"
_HOGS = "def init():\n    global held\n    held = bytearray(200 * 2**20)\n\ndef run(body):\n    return body\n"


def test_a_failure_is_one_sentence(service: ServiceProcess, images: Images) -> None:
    """Each of these ends as soon as the cause is certain, and leaves nothing in the cluster."""
    good = images(SAYS.format(word="first"))
    room = {"containerResourceReservation": {"cpu": "64", "memory": "100Mi"}}
    cases = {
        "loads-not": (images(_FAILS), {}, "DriverInitError", r"ValueError: a bad day"),
        "hogs": (images(_HOGS), {"containerResourceReservation": {"memory": "100Mi"}}, "OutOfMemory", r"100Mi"),
        "no-room": (good, room, "NoRoom", r"64 cpu.*Insufficient cpu.*Free: [\d.]+ cpu, \d+Mi memory on n1"),
        "no-image": (_lost(service, images), {}, "ImagePullFailed", r"not found"),
    }
    asked = {name: create(service, image, name, **more) for name, (image, more, _, _) in cases.items()}
    for name, (_, _, code, words) in cases.items():
        ended = service.operation(asked[name])
        assert ended["error"]["code"] == code, ended
        assert re.search(words, ended["error"]["message"]), ended
        assert "\n" not in ended["error"]["message"]
        assert "in time" not in ended["error"]["message"], "the cause ended it, not the time for starting"
        if name == "no-room":
            log = service.log(ended["resourceLocation"] + "/logs")
            assert "[mlmgmt] pods ready 0/1: No node has room for a pod (64 cpu" in log, log


def _lost(service: ServiceProcess, images: Images) -> Any:
    """Return an image that the registry does not have any more."""
    image = images(SAYS.format(word="lost"))
    record = service.home / "images" / image["id"] / "docker.json"
    built = json.loads(record.read_text())
    record.write_text(json.dumps({**built, "digest": f"sha256:{'0' * 64}"}))
    return image


@pytest.fixture(scope="module")
def kept(service: ServiceProcess, images: Images) -> Any:
    """Return a service of two pods that several tests use."""
    return serve(service, images(SAYS.format(word="first")), "kept", numReplicas=2)


def test_an_update_that_fails_leaves_what_served(service: ServiceProcess, images: Images, kept: Any) -> None:
    word = score(service, kept)[0]
    with Load(service, kept) as load:
        ended = service.operation(
            service.request("PUT", f"/services/{kept['id']}", json={"imageId": images(_FAILS)["id"]})
        )
        assert ended["error"]["code"] == "DriverInitError"
        eventually(lambda: len(load.answers) > 50, 30, "answers")
    assert {answer[0] for answer in load.answers} == {word}
    assert load.failures == []


def test_an_update_loses_no_request(service: ServiceProcess, images: Images, kept: Any) -> None:
    request = {"imageId": images(SAYS.format(word="next"))["id"]}
    with Load(service, kept) as load:
        ended = service.operation(service.request("PUT", f"/services/{kept['id']}", json=request))
        assert ended["state"] == "Succeeded"
        before = len(load.answers)
        eventually(lambda: len(load.answers) > before + 20, 30, "answers")
    assert load.failures == []
    assert {answer[0] for answer in load.answers[before + 5 :]} == {"next"}
    assert len({answer[3] for answer in load.answers[before:]}) == 2, "one pod gets everything"


def test_new_keys_are_in_force_at_once(service: ServiceProcess, kept: Any) -> None:
    old = service.get(f"/services/{kept['id']}/keys")["primaryKey"]
    service.request("POST", f"/services/{kept['id']}/regenerateKeys", json={"keyType": "Primary"})
    new = service.get(f"/services/{kept['id']}/keys")["primaryKey"]
    assert new != old

    def answers_of(key: str) -> set[int]:
        return {service.score(kept, "1", key).status_code for _ in range(8)}

    # With both keys: the cluster chooses a pod for each request, so eight with one key may all miss the same pod.
    # A second or two on a machine that does nothing else; a kubelet looks by itself after a minute or more.
    eventually(lambda: (answers_of(new), answers_of(old)) == ({200}, {401}), 45, "the new key at both pods")


def test_what_others_change_is_put_right(cluster: ClusterProcess, service: ServiceProcess, kept: Any) -> None:
    deployment, _, server, *_ = objects(cluster, kept)
    name = deployment["metadata"]["name"]
    path = f"/apis/apps/v1/namespaces/default/deployments/{name}"
    cluster.api("PATCH", path, {"spec": {"replicas": 1}})
    eventually(lambda: cluster.api("GET", path)["spec"]["replicas"] == 2, 20, "two replicas again")
    eventually(lambda: _log_with(service, kept, "was changed by somebody else"), 10, "a line about it")
    cluster.api("DELETE", f"/api/v1/namespaces/default/services/{server['metadata']['name']}")
    eventually(lambda: len(objects(cluster, kept)) == 6, 30, "the Service and both pods")
    # Nodes forget the way to the Service that was deleted a little later: until then, it may still be taken.
    eventually(lambda: all(answers(service, kept) for _ in range(20)), 40, "an answer each time")


def test_scoring_urls_may_be_those_of_the_cluster(
    cluster: ClusterProcess, service: ServiceProcess, images: Images, kept: Any
) -> None:
    """The same pods answer there, with the same keys; back to the front door needs no new pods either."""
    file = service.home / "clusters.toml"
    before, pods = file.read_text(), two_pods(cluster, kept)
    try:
        configure(file, cluster.settings("default", expose="nodeport"))
        url = eventually(lambda: service.get(f"/services/{kept['id']}")["scoringUri"], 20, "the URL")
        port = next(each for each in objects(cluster, kept) if "clusterIP" in each.get("spec", {}))["spec"]["ports"][0]
        assert url == f"http://127.0.0.1:{port['nodePort']}/api/v1/service/kept/score"
        exposed = {**kept, "scoringUri": url}
        score(service, exposed)
        assert service.score(exposed, "1", "wrong").status_code == 401
        sleeping = {"autoScaler": {"autoscaleEnabled": True, "minReplicas": 0}}
        refused = create(service, images(SAYS.format(word="first")), "sleeping", **sleeping)
        assert (refused.status_code, refused.json()["code"]) == (409, "NoAutoscaler")
    finally:
        configure(file, before)
    assert service.get(f"/services/{kept['id']}")["scoringUri"] == kept["scoringUri"]
    eventually(lambda: answers(service, kept), 20, "an answer at the front door")
    assert living_pods(cluster, kept) == pods


def test_pods_answer_while_the_service_or_the_api_server_is_away(
    cluster: ClusterProcess, service: ServiceProcess, kept: Any
) -> None:
    """A restarted service adopts what it finds. The cluster may be away for 10 s, too, and services say so."""
    pods = two_pods(cluster, kept)
    key = service.get(f"/services/{kept['id']}/keys")["primaryKey"]
    port = next(each for each in objects(cluster, kept) if "clusterIP" in each.get("spec", {}))["spec"]["ports"][0]
    url = f"http://127.0.0.1:{port['nodePort']}/api/v1/service/kept/score"
    with Load(service, kept, url=url, key=key) as load:
        service.kill()
        service.start()
        eventually(lambda: answers(service, kept), 30, "an answer of the adopted service")
        cluster.run("part", "stop", "kube-apiserver")
        stopped = time.monotonic()
        try:
            shown = eventually(lambda: _problem(service, kept), 20, "the problem")
            assert "UTC" in shown["message"]
            eventually(
                lambda: time.monotonic() - stopped > 10 or not answers(service, kept), 60, "10 seconds of answers"
            )
            assert answers(service, kept)
        finally:
            cluster.run("part", "start", "kube-apiserver")
        eventually(lambda: _problem(service, kept) is None, 30, "the end of the problem")
    assert load.failures == []
    assert living_pods(cluster, kept) == pods


def _problem(service: ServiceProcess, made: Any) -> Any:
    """Return the error of a service while its cluster is away."""
    error = service.get(f"/services/{made['id']}")["error"]
    return error if error is not None and error["code"] == "ClusterUnavailable" else None


def test_a_user_with_rights_in_one_namespace(
    cluster: ClusterProcess, start: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    """The command configures the cluster; pods are reached through the API server."""
    own = start(tmp_path / "home", "")
    place = ("--home", own.home)
    flags = ("--kubeconfig", cluster.kubeconfig, "--context", "dev", "--registry", f"{cluster.registry}/dev")
    with own_config(tmp_path):
        denied = mlmgmt("env", "kubernetes", *flags, "--namespace", "default", *place, code=2)
        words = r"lack permissions in namespace 'default': .*list,create,patch,delete deployments\.apps"
        assert re.search(words, denied), denied
        mlmgmt("env", "kubernetes", "--namespace", "dev", "--reach", "port-forward", *place)
        assert re.search(r"kubernetes .*ready", mlmgmt("env", "list", *place))
        assert "environment 'team' is compute 'kubernetes'" in mlmgmt("env", "setup", "-n", "team", "-c", *place)
        assert "images and services use compute 'team'" in mlmgmt("env", "set", "-n", "team", *place)
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "score.py").write_text(SAYS.format(word="dev"))
    made = serve(own, build(own, folder, "dev"), "dev")
    assert [score(own, made)[0] for _ in range(3)] == ["dev"] * 3
    # The settings may change while the service runs.
    settings = (own.home / "clusters.toml").read_text()
    configure(own.home / "clusters.toml", "")
    refused = own.request("PUT", f"/services/{made['id']}", json={"numReplicas": 2})
    assert (refused.status_code, refused.json()["code"]) == (409, "NoCompute")
    configure(own.home / "clusters.toml", settings)
    eventually(lambda: answers(own, made), 30, "an answer with the settings")
    # A crash between the end of a row and the end of its objects leaves objects that nobody knows.
    own.stop()
    with sqlite3.connect(own.home / "mlmgmt.db") as database:
        database.execute("DELETE FROM services")
    own.start()
    path = "/apis/apps/v1/namespaces/dev/deployments"
    eventually(lambda: not cluster.api("GET", path)["items"], 30, "the end of what nobody knows")
    own.stop()


def test_two_state_folders_share_a_namespace(
    cluster: ClusterProcess, start: Callable[..., ServiceProcess], kept: Any, tmp_path: Path
) -> None:
    """A service removes what nobody knows, but only of its own folder."""
    two_pods(cluster, kept)  # others, of an earlier change, are told to end, and end by themselves
    before = lasting(cluster, kept)
    other = start(tmp_path / "home", cluster.settings("default"))
    eventually((other.home / "clusters" / "kubernetes" / "logs.json").exists, 60, "its first round")
    other.stop()
    assert before == lasting(cluster, kept)


def test_why_a_cluster_is_not_ready(cluster: ClusterProcess, tmp_path: Path) -> None:
    """Credentials, the namespace and the registry; `test_readiness` has what needs no cluster."""
    expired = tmp_path / "kubeconfig"
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    expired.write_text(json.dumps({**content, "users": [{**u, "user": {"token": "old"}} for u in content["users"]]}))
    good, registry = str(cluster.kubeconfig), f"{cluster.registry}/ml"
    cases = [
        (ClusterSettings(kubeconfig=str(expired), context="admin"), registry, "Unauthorized", "has expired"),
        (ClusterSettings(kubeconfig=good, namespace="nowhere"), registry, "NoNamespace", "'nowhere'"),
        (ClusterSettings(kubeconfig=good, namespace="default"), None, "NoRegistry", "--registry"),
        (ClusterSettings(kubeconfig=good), f"127.0.0.1:{free_port()}", "RegistryUnavailable", "Connection refused"),
        (ClusterSettings(kubeconfig=good), registry, "", ""),
    ]
    for settings, pushed, code, words in cases:
        problem = find_problem(Connection(settings), settings, pushed)
        assert (problem.code if problem else "") == code, problem
        assert words in (problem.message if problem else "")
