"""The objects of a declaration."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlmgmt_nb.service.cluster_settings import ClusterSettings, ClusterSettingsError, read_clusters
from mlmgmt_nb.service.compute.declared.protocol import Bounds, Declaration
from mlmgmt_nb.service.compute.kubernetes.declaring.exposing import url_of
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import DECLARATION, HOME, INSTANCE, SERVICE, object_name
from mlmgmt_nb.service.compute.kubernetes.declaring.objects import (
    KINDS,
    build_objects,
    check_pod_fields,
    fingerprint_of,
    pulled_image,
)
from mlmgmt_nb.service.compute.kubernetes.declaring.versions import OPTIONAL, VERSIONS, as_version

DECLARATION_OF_TEST = Declaration(
    service_id="0f136102-bc00-4000-8000-000000000000",
    deployment_id="d2",
    name="iris",
    image="registry.example.org/ml/iris@sha256:00",
    replicas=3,
    key_digests=["a" * 64, "b" * 64],
    environment={"GREETING": "$(HOME) is $HOME"},
    secrets={"d1": {"TOKEN": "first-secret"}, "d2": {"TOKEN": "next-secret"}},
    slots=7,
    cpu="500m",
    memory="256Mi",
    start_seconds=40.0,
    drain_seconds=30.0,
    hang_seconds=60.0,
)


FIELDS: dict[str, Any] = {
    "metadata": {"annotations": {"example.org/scrape": "true"}},
    "spec": {
        "priorityClassName": "batch",
        "securityContext": {"supplementalGroups": [7]},
        "containers": [
            {
                "name": "scoring",
                "env": [{"name": "PROXY", "value": "p"}, {"name": "GREETING", "value": "general"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
            {"name": "sidecar", "image": "example.org/sidecar"},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}


def built(settings: ClusterSettings | None = None, **changes: Any) -> dict[str, Any]:
    declaration = msgspec.structs.replace(DECLARATION_OF_TEST, **changes)
    objects = build_objects(declaration, settings or ClusterSettings(), "home-1", needs_node_port=True)
    return {each["kind"]: each for each in objects}


def pod(**changes: Any) -> Any:
    return built(**changes)["Deployment"]["spec"]["template"]["spec"]


def test_all_objects_have_one_name_and_our_labels() -> None:
    objects = built()
    assert tuple(objects) == tuple(kind for kind in KINDS if kind not in OPTIONAL)
    for each in objects.values():
        assert each["metadata"]["name"] == "iris-0f136102bc"
        labels = each["metadata"]["labels"]
        assert (labels[HOME], labels[SERVICE]) == ("home-1", DECLARATION_OF_TEST.service_id)
        assert labels["app.kubernetes.io/managed-by"] == "mlmgmt-nb"


@pytest.mark.parametrize("name", ["iris", "iris/candidate", "A_b." * 20])
def test_each_object_names_itself_in_a_label(name: str) -> None:
    """By it, an object is told from one of somebody else that has a copy of its labels."""
    settings = ClusterSettings(hpa=True, expose="ingress", host="ml.example.org")
    for is_candidate in (False, True):
        objects = built(settings, name=name, is_candidate=is_candidate, bounds=Bounds(1, 4, 70))
        assert objects.keys() >= set(KINDS) - ({"Ingress"} if is_candidate else set())
        for each in objects.values():
            assert each["metadata"]["labels"][INSTANCE] == each["metadata"]["name"]


@pytest.mark.parametrize(
    ("name", "shown"), [("iris", "iris-0123456789"), ("2.iris", "s-2-iris-0123456789"), ("A_b.", "a-b-0123456789")]
)
def test_a_name_is_one_of_kubernetes(name: str, shown: str) -> None:
    assert object_name(name, "01234567-89ab") == shown


def test_pods_are_restricted_and_drained() -> None:
    made = pod()
    container = made["containers"][0]
    assert made["automountServiceAccountToken"] is False
    assert made["securityContext"]["runAsNonRoot"] is True
    assert made["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert made["terminationGracePeriodSeconds"] > DECLARATION_OF_TEST.drain_seconds
    assert "preStop" in container["lifecycle"]
    assert container["resources"]["requests"] == container["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
    strategy = built()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


def test_values_reach_the_driver_as_given() -> None:
    """Kubernetes replaces `$(NAME)`; secrets come from the Secret, each deployment's own."""
    variables = {each["name"]: each for each in pod()["containers"][0]["env"]}
    assert variables["GREETING"]["value"] == "$$(HOME) is $HOME"
    assert variables["TOKEN"]["valueFrom"]["secretKeyRef"]["key"] == "d2.TOKEN"
    data = {name: base64.b64decode(value).decode() for name, value in built()["Secret"]["data"].items()}
    assert data == {"keys": f"{'a' * 64}\n{'b' * 64}", "d1.TOKEN": "first-secret", "d2.TOKEN": "next-secret"}
    plain = json.dumps([each for kind, each in built().items() if kind != "Secret"])
    assert "-secret" not in plain


@pytest.mark.parametrize("version", ["1.33", "1.34", "1.35", "1.36", "1.37"])
def test_current_kubernetes_knows_every_field(version: str) -> None:
    import kubernetes_validate

    settings = ClusterSettings(
        image_pull_secrets=("login",),
        node_selector={"pool": "ml"},
        tolerations=({"operator": "Exists"},),
        gpus=1,
        hpa=True,
        expose="ingress",
        host="ml.example.org",
        tls_secret="ml-tls",
        ingress_class="nginx",
        annotations={"example.org/body-size": "32m"},
        pod_fields=FIELDS,
    )
    objects = built(settings, bounds=Bounds(1, 4, 70))
    assert objects.keys() == set(KINDS)
    for each in objects.values():
        kubernetes_validate.validate(each, version, strict=True)
    older = as_version(objects["HorizontalPodAutoscaler"], VERSIONS["HorizontalPodAutoscaler"][-1])
    kubernetes_validate.validate(older, version, strict=True)
    others: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"cpu": None, "memory": None, "environment": {}, "secrets": {}}),
        ({"expose": "nodeport", "annotations": {"a": "b"}}, {"bounds": Bounds(0, 4, 70), "replicas": 0}),
        ({"expose": "loadbalancer", "host": "ml.example.org", "tls": True}, {}),
        ({"expose": "ingress", "host": "ml.example.org", "tls": True, "read_only_root": False}, {"replicas": 1}),
    ]
    for given, changes in others:
        for each in built(ClusterSettings(**given), **changes).values():
            kubernetes_validate.validate(each, version, strict=True)


def test_new_keys_change_the_fingerprint_and_no_pod() -> None:
    before, after = built(), built(key_digests=["c" * 64])
    assert before["Deployment"]["spec"] == after["Deployment"]["spec"]
    annotations = [each["Deployment"]["metadata"]["annotations"][DECLARATION] for each in (before, after)]
    assert annotations[0] != annotations[1]
    assert annotations[0] == fingerprint_of(list(before.values()))


def test_the_number_of_replicas_is_ours_unless_the_cluster_scales() -> None:
    """What we scale is written at once, and a change of it is not another declaration; the cluster's is not named."""
    bounds = Bounds(1, 4, 70)
    few, many = built(bounds=bounds, replicas=1), built(bounds=bounds, replicas=3)
    assert [each["Deployment"]["spec"]["replicas"] for each in (few, many)] == [1, 3]
    assert few["Deployment"]["metadata"] == many["Deployment"]["metadata"]
    assert built(replicas=1)["Deployment"]["metadata"] != built(replicas=3)["Deployment"]["metadata"]
    scaled = built(ClusterSettings(hpa=True), bounds=bounds)
    assert "replicas" not in scaled["Deployment"]["spec"]
    spec = scaled["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    older = as_version(scaled["HorizontalPodAutoscaler"], "autoscaling/v1")
    assert older["spec"]["targetCPUUtilizationPercentage"] == 70
    assert built(ClusterSettings(hpa=True)).keys() == built().keys(), "a fixed number stays fixed"


@pytest.mark.parametrize(
    ("settings", "service", "url"),
    [
        ({"expose": "nodeport"}, {"spec": {"ports": [{"nodePort": 30001}]}}, "http://10.0.0.7:30001"),
        ({"expose": "nodeport"}, {"spec": {"ports": [{}]}}, None),
        ({"expose": "loadbalancer"}, {"status": {"loadBalancer": {}}}, None),
        (
            {"expose": "loadbalancer"},
            {"status": {"loadBalancer": {"ingress": [{"ip": "fd00::1"}]}}},
            "http://[fd00::1]",
        ),
        (
            {"expose": "loadbalancer", "tls": True},
            {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}},
            "https://lb.example.org",
        ),
        ({"expose": "loadbalancer", "host": "ml.example.org"}, {}, "http://ml.example.org"),
        ({"expose": "ingress", "host": "ml.example.org"}, {}, "http://ml.example.org"),
        ({"expose": "ingress", "host": "ml.example.org", "tls_secret": "x"}, {}, "https://ml.example.org"),
    ],
)
def test_a_url_of_the_cluster(settings: dict[str, Any], service: dict[str, Any], url: str | None) -> None:
    expected = url and f"{url}/api/v1/service/iris/score"
    assert url_of("iris", service, ClusterSettings(**settings), "10.0.0.7") == expected


@pytest.mark.parametrize(
    ("settings", "type_", "port"),
    [
        ({}, "ClusterIP", 80),
        ({"expose": "nodeport"}, "NodePort", 80),
        ({"expose": "loadbalancer", "tls": True}, "LoadBalancer", 443),
        ({"expose": "ingress", "host": "ml.example.org", "tls": True}, "ClusterIP", 80),
    ],
)
def test_what_exposes_a_service(settings: dict[str, Any], type_: str, port: int) -> None:
    """Annotations are on the object whose controller reads them, and a change of them is another declaration."""
    chosen = ClusterSettings(**settings)
    noted = ClusterSettings(**{**settings, **({"annotations": {"a": "b"}} if settings else {})})
    before, after = (build_objects(DECLARATION_OF_TEST, each, "h", needs_node_port=False) for each in (chosen, noted))
    service = before[1]
    assert (service["spec"]["type"], service["spec"]["ports"][0]["port"]) == (type_, port)
    annotated = [each["kind"] for each in after if each["metadata"].get("annotations") == {"a": "b"}]
    assert annotated == ([] if not settings else ["Ingress" if chosen.expose == "ingress" else "Service"])
    assert (before[2]["metadata"] == after[2]["metadata"]) is (not settings)
    made = [each for each in before if each["kind"] == "Ingress"]
    assert [each["spec"]["tls"] for each in made] == ([[{"hosts": ["ml.example.org"]}]] if made else [])


def test_fields_of_pods_are_added() -> None:
    template = built(ClusterSettings(pod_fields=FIELDS))["Deployment"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"example.org/scrape": "true"}
    assert SERVICE in template["metadata"]["labels"]
    made = template["spec"]
    assert (made["priorityClassName"], made["securityContext"]["supplementalGroups"]) == ("batch", [7])
    assert made["securityContext"]["runAsNonRoot"] is True
    ours, sidecar = made["containers"]
    assert (ours["name"], sidecar["name"]) == ("scoring", "sidecar")
    variables = {each["name"]: each.get("value") for each in ours["env"]}
    assert (variables["PROXY"], variables["GREETING"]) == ("p", "$$(HOME) is $HOME"), "those of a service win"
    assert {"/tmp", "/data"} <= {each["mountPath"] for each in ours["volumeMounts"]}
    assert {"keys", "data"} <= {each["name"] for each in made["volumes"]}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"spec": {"automountServiceAccountToken": True}}, "spec.automountServiceAccountToken"),
        ({"spec": {"containers": [{"name": "scoring", "image": "x"}]}}, "spec.containers[scoring].image"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers[0]: an item needs name"),
        ({"spec": {"volumes": [{"name": "keys", "emptyDir": {}, "secret": 1}]}}, "spec.volumes[keys].secret"),
        ({"metadata": {"labels": {SERVICE: "x"}}}, f"metadata.labels.{SERVICE}"),
        ({"spec": {"$patch": "replace"}}, "spec.$patch"),
    ],
)
def test_fields_of_ours_cannot_be_changed(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ClusterSettingsError) as raised:
        check_pod_fields(ClusterSettings(pod_fields=fields))
    assert problem in str(raised.value)


def test_fields_of_pods_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text("[kubernetes]\npod-fields-file = 'pod.yaml'\n")
    for content, problem in ((None, "cannot be read"), ("[", "no fields of pods"), ("- 1", "no fields of pods")):
        if content is not None:
            (tmp_path / "pod.yaml").write_text(content)
        with pytest.raises(ClusterSettingsError) as raised:
            read_clusters(file)
        assert problem in str(raised.value)
    (tmp_path / "pod.yaml").write_text("spec:\n  priorityClassName: batch\n")
    assert read_clusters(file)["kubernetes"].pod_fields == {"spec": {"priorityClassName": "batch"}}


def test_the_settings_of_the_guide_are_valid(tmp_path: Path) -> None:
    """Also with the settings that need another value of `expose`, which are comments there."""
    guide = (Path(__file__).parents[4] / ".docs" / "guides" / "kubernetes.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "pod.yaml").write_text("spec:\n  priorityClassName: batch\n")
    file = tmp_path / "clusters.toml"
    file.write_text(block)
    assert read_clusters(file)["kubernetes"].expose == "front-door"
    exposed = re.sub(r"^# (?=[a-z-]+ = )", "", block, flags=re.MULTILINE)
    file.write_text(exposed.replace('expose = "front-door"', 'expose = "ingress"'))
    settings = read_clusters(file)["kubernetes"]
    assert (settings.host, settings.tls_secret, settings.ingress_class) == ("ml.example.org", "ml-tls", "nginx")


def test_settings_of_a_cluster_are_in_its_pods() -> None:
    settings = ClusterSettings(
        registry="registry.example.org/ml",
        pull_registry="mirror:5000/ml",
        image_pull_secrets=("login",),
        node_selector={"pool": "gpu"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        gpus=1,
        read_only_root=False,
    )
    made = pod(settings=settings)
    assert made["imagePullSecrets"] == [{"name": "login"}]
    assert made["nodeSelector"] == {"pool": "gpu"}
    assert made["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    container = made["containers"][0]
    assert container["image"] == "mirror:5000/ml/iris@sha256:00"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["securityContext"]["readOnlyRootFilesystem"] is False
    assert pulled_image("other/iris@sha256:00", settings) == "other/iris@sha256:00"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[kubernetes]\nnamespaces = 'x'\n", "`namespaces`"),
        ("[kubernetes]\nreach = 'magic'\n", "$.reach"),
        ("[local]\n", "'local'"),
        ("[kubernetes]\nexpose = 'ingress'\n", "needs host"),
        ("[kubernetes]\nexpose = 'nodeport'\nhost = 'x'\n", "host needs expose = ingress or loadbalancer"),
        ("[kubernetes]\ntls-secret = 'x'\n", "tls-secret needs expose = ingress"),
        ("[kubernetes]\nannotations = { a = 'b' }\n", "annotations need"),
        ("[kubernetes]\nnamespace = 'a'\n[west]\nnamespace = 'a'\n", "[kubernetes] and [west] are the same namespace"),
        ("kubernetes = 1\n", "[kubernetes]"),
        ("[kubernetes\n", "TOML"),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text(text)
    with pytest.raises(ClusterSettingsError) as raised:
        read_clusters(file)
    assert problem in str(raised.value)
    assert str(file) in str(raised.value)


def test_several_clusters_have_names(tmp_path: Path) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text("[kubernetes]\n[west]\nnamespace = 'ml'\nimage-pull-secrets = ['login']\n")
    found = read_clusters(file)
    assert list(found) == ["kubernetes", "west"]
    assert found["west"].image_pull_secrets == ("login",)
    assert read_clusters(tmp_path / "none.toml") == {}


def test_a_candidate_is_reached_only_through_the_service() -> None:
    """It has the paths and the name label of its service, and objects of its own."""
    settings = ClusterSettings(expose="ingress", host="models.example.org")
    candidate = msgspec.structs.replace(DECLARATION_OF_TEST, name="iris/candidate", is_candidate=True)
    objects = build_objects(candidate, settings, "h", needs_node_port=False)
    assert {each["kind"] for each in objects} == {"Secret", "Service", "Deployment", "PodDisruptionBudget"}
    metadata = objects[0]["metadata"]
    assert metadata["name"].startswith("iris-candidate-")
    assert metadata["labels"]["app.kubernetes.io/name"] == "iris"
    assert metadata["labels"]["app.kubernetes.io/component"] == "candidate"
    command = objects[2]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--name") + 1] == "iris"
