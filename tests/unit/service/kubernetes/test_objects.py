"""The objects of a declaration."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlmgmt_nb.service.cluster_settings import ClusterSettings, ClusterSettingsError, read_clusters
from mlmgmt_nb.service.compute.declared.protocol import Declaration
from mlmgmt_nb.service.compute.kubernetes.naming import DECLARATION, HOME, SERVICE, object_name
from mlmgmt_nb.service.compute.kubernetes.objects import KINDS, build_objects, fingerprint_of, pulled_image

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


def built(settings: ClusterSettings | None = None, **changes: Any) -> dict[str, Any]:
    declaration = msgspec.structs.replace(DECLARATION_OF_TEST, **changes)
    objects = build_objects(declaration, settings or ClusterSettings(), "home-1", has_node_port=True)
    return {each["kind"]: each for each in objects}


def pod(**changes: Any) -> Any:
    return built(**changes)["Deployment"]["spec"]["template"]["spec"]


def test_all_objects_have_one_name_and_our_labels() -> None:
    objects = built()
    assert tuple(objects) == KINDS
    for each in objects.values():
        assert each["metadata"]["name"] == "iris-0f136102bc"
        labels = each["metadata"]["labels"]
        assert (labels[HOME], labels[SERVICE]) == ("home-1", DECLARATION_OF_TEST.service_id)
        assert labels["app.kubernetes.io/managed-by"] == "mlmgmt-nb"


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
    plain = json.dumps([built()[kind] for kind in KINDS if kind != "Secret"])
    assert "-secret" not in plain


@pytest.mark.parametrize("version", ["1.33", "1.34", "1.35", "1.36", "1.37"])
def test_current_kubernetes_knows_every_field(version: str) -> None:
    import kubernetes_validate

    settings = ClusterSettings(
        image_pull_secrets=("login",), node_selector={"pool": "ml"}, tolerations=({"operator": "Exists"},), gpus=1
    )
    for each in built(settings).values():
        kubernetes_validate.validate(each, version, strict=True)


def test_new_keys_change_the_fingerprint_and_no_pod() -> None:
    before, after = built(), built(key_digests=["c" * 64])
    assert before["Deployment"]["spec"] == after["Deployment"]["spec"]
    annotations = [each["Deployment"]["metadata"]["annotations"][DECLARATION] for each in (before, after)]
    assert annotations[0] != annotations[1]
    assert annotations[0] == fingerprint_of(list(before.values()))


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
