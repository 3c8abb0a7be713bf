"""The objects of a service that runs in a cluster."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmgmt_nb.cli import main
from mlmgmt_nb.service.in_cluster.own_image import own_requirements

LEAST = ("export", "kubernetes", "--image", "r.example.org/mlmgmt:1", "--registry", "r.example.org/ml")
MOST = (
    *(*LEAST, "--namespace", "ml", "--url", "https://ml.example.org", "--registry-secret", "login"),
    *("--database-secret", "database", "--tls-secret", "tls", "--storage", "5Gi", "--base-image", "python:3.13-slim"),
    *("--expose", "ingress", "--host", "models.example.org"),
    *("--auth", "oidc", "--issuer", "https://id.example.org", "--audience", "api", "--grant", "reader=Reader"),
)


OTHER = (*LEAST, "--name", "team", "--storage", "none", "--expose", "loadbalancer", "--host", "models.example.org")


def written(tmp_path: Path, *words: str) -> dict[str, Any]:
    """Return the objects that a command writes, by kind."""
    file = tmp_path / "manifests.yaml"
    assert main([*words, "--file", str(file)]) == 0
    return {each["kind"]: each for each in yaml.safe_load_all(file.read_text())}


@pytest.mark.parametrize("version", ["1.33", "1.34", "1.35", "1.36", "1.37"])
@pytest.mark.parametrize("words", [LEAST, MOST, OTHER], ids=["least", "most", "other"])
def test_current_kubernetes_knows_every_field(tmp_path: Path, words: tuple[str, ...], version: str) -> None:
    import kubernetes_validate  # takes a second, which other processes that collect the tests need not spend

    for each in written(tmp_path, *words).values():
        kubernetes_validate.validate(each, version, strict=True)


def test_the_service_may_do_what_it_needs_in_its_namespace_alone(tmp_path: Path) -> None:
    objects = written(tmp_path, *LEAST)
    assert "ClusterRole" not in objects
    given = objects["Role"]["rules"]
    rules = {(rule["apiGroups"][0], rule["resources"][0]): rule["verbs"] for rule in given}
    assert rules["apps", "deployments"] == ["get", "list", "create", "patch", "delete"]
    assert rules["", "pods"] == ["get", "list", "patch"]
    assert not {"*"} & {word for (group, name), verbs in rules.items() for word in (group, name, *verbs)}
    assert ("networking.k8s.io", "ingresses") not in rules
    exposed = written(tmp_path, *MOST)["Role"]["rules"]
    assert any("ingresses" in rule["resources"] for rule in exposed)


def test_everything_that_is_set_is_there(tmp_path: Path) -> None:
    objects = written(tmp_path, *MOST)
    assert {each["metadata"]["namespace"] for each in objects.values()} == {"ml"}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    # The root of a volume belongs to the cluster, and a state folder has to belong to the service.
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    home = container["command"][container["command"].index("--home") + 1]
    assert home == f"{mounts['state']}/state"
    command = " ".join(container["command"])
    assert "--tls-cert /etc/mlmgmt-tls/tls.crt --tls-key /etc/mlmgmt-tls/tls.key" in command
    assert "--auth oidc --issuer https://id.example.org --audience api --grant reader=Reader" in command
    assert "--public-url https://ml.example.org" in command
    assert "--base-image python:3.13-slim" in command
    assert "--allow" not in command
    sources = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert sources["MLMGMT_DATABASE"] == {"name": "database", "key": "url"}
    assert sources["PGPASSWORD"] == {"name": "database", "key": "password"}
    assert objects["PersistentVolumeClaim"]["spec"]["resources"]["requests"] == {"storage": "5Gi"}
    assert pod["imagePullSecrets"] == [{"name": "login"}]
    settings = tomllib.loads(objects["ConfigMap"]["data"]["clusters.toml"])["kubernetes"]
    assert settings == {
        "namespace": "ml",
        "registry": "r.example.org/ml",
        "reach": "cluster-ip",
        "expose": "ingress",
        "host": "models.example.org",
        "image-pull-secrets": ["login"],
    }


@pytest.mark.parametrize(("words", "scheme"), [(LEAST, "HTTP"), (MOST, "HTTPS")], ids=["plain", "tls"])
def test_probes_ask_for_the_health_of_the_service(tmp_path: Path, words: tuple[str, ...], scheme: str) -> None:
    """Only readiness depends on the database: a restart of the pod does not repair it."""
    container = written(tmp_path, *words)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["httpGet"]["path"] for name, probe in probes.items()} == {
        "startup": "/health/live",
        "readiness": "/health/ready",
        "liveness": "/health/live",
    }
    ports = {port["containerPort"] for port in container["ports"]}
    assert {(probe["httpGet"]["port"], probe["httpGet"]["scheme"]) for probe in probes.values()} == {
        (ports.pop(), scheme)
    }


def test_what_is_not_set_is_told_by_flags(tmp_path: Path) -> None:
    """Without TLS and sign-in, the flags that accept this are visible; without a volume, there is none."""
    objects = written(tmp_path, *LEAST, "--storage", "none")
    command = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert {"--allow-plain-http", "--allow-shared-token"} <= set(command)
    assert "PersistentVolumeClaim" not in objects


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--auth", "oidc"), "--issuer"), (("--grant", "x"), "--grant"), (("--expose", "ingress"), "host")],
)
def test_flags_that_conflict_are_named(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LEAST, *words]) == 1
    assert said in capsys.readouterr().err


def test_the_image_has_what_a_service_in_a_cluster_needs() -> None:
    needed = {line.split("<")[0].split(">")[0].split("[")[0] for line in own_requirements()}
    assert {"kubernetes", "psycopg", "uv", "sqlalchemy", "uvloop"} <= needed
    assert not {"scikit-learn", "pandas", "ipywidgets"} & needed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--name", "Upper"), "argument --name: 'Upper' is not a name"),
        (("--namespace", "a_b"), "argument --namespace: 'a_b' is not a name"),
        (("--name", "a" * 51), "is not a name"),
        (("--storage", "much"), "argument --storage: 'much' is not a size"),
        (("--file", "/nowhere/at/all.yaml"), "--file: /nowhere/at/all.yaml: No such file or directory"),
        (("--expose", "ingress"), "needs host"),
        (("--grant", "reader=Reader"), "--grant cannot be combined with --auth local"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main([*LEAST, *words])
    except SystemExit as ended:  # by argparse
        code = int(ended.code or 0)
    shown = capsys.readouterr()
    assert code in {1, 2}
    assert told in shown.err
    assert shown.out == ""
