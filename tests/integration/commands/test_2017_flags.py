"""Environments and accounts with the flags of the command line of 2017."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.commands.test_shell import Shell, home, shell

__all__ = ["home", "shell"]


def test_environments(shell: Shell, tmp_path: Path) -> None:
    made = shell(
        *("env", "setup", "-n", "myenv", "-g", "group", "-l", "eastus2", "--agent-count", "3", "-v"),
        *("--service-principal-password", "hunter2"),
    )
    assert made.code == 0, made.err
    assert "environment 'myenv' is compute 'local'; `mlmgmt env set -n myenv` switches to it" in made.out
    assert "--resource-group, --location, --agent-count, --service-principal-password" in made.err
    assert "PUT http://127.0.0.1" in made.err
    assert "hunter2" not in made.out + made.err
    chosen = shell("env", "set", "-n", "myenv", "-g", "group")
    assert chosen.out.startswith("images and services use compute 'myenv'")
    assert chosen.err == "ignored, as they have no meaning here: --resource-group\n"
    shown = shell("env", "show", "-n", "myenv", "-g", "group", "-o", "json").json
    assert (shown[0]["id"], shown[0]["aliasOf"], shown[0]["state"]) == ("myenv", "local", "ready")
    assert {row["id"] for row in shell("env", "list", "-v", "-o", "json").json} >= {"local", "docker", "myenv"}
    service = shell(
        "service", "create", "realtime", "-n", "on-env", "-f", "score.py", "-r", "python", "-v", "-o", "json"
    )
    assert service.json["computeResource"]["id"] == "myenv"
    where = shell("env", "get-credentials", "-g", "group", "--cluster-name", "myenv", "-i")
    assert "`mlmgmt service keys -n NAME`" in where.out
    assert shell("env", "delete", "-n", "myenv", "-g", "group").out == "alias 'myenv' is removed\n"
    assert shell("env", "delete", "-n", "myenv").out == "alias 'myenv' does not exist\n"
    assert shell("env", "local", "-v").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("env", "set", "-n", "moon"),
        ("env", "cluster"),
        ("env", "show", "-n", "moon"),
        ("env", "get-credentials", "-n", "moon"),
        ("service", "create", "-n", "on-moon", "-f", "score.py", "-r", "python", "--compute-resource-id", "moon"),
        ("image", "create", "-n", "on-moon", "-f", "score.py", "-r", "python", "--compute-resource-id", "moon"),
    ],
)
def test_unknown_computes_are_refused_at_once(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell("env", "alias", "team", "local").out == "'team' is another name of compute 'local'\n"
    refused = shell(*words)
    assert refused.code == 2
    assert "is not known to this service" in refused.err
    assert "Use one of docker, local, team" in refused.err
    assert shell("model", "list", "--query", "[?name=='on-moon']", "-o", "json").json == []


def test_a_cluster_of_2017_warns(shell: Shell) -> None:
    whole = "/subscriptions/s/resourceGroups/g/providers/x/operationalizationClusters/far"
    create = ("service", "create", "-f", "score.py", "-r", "python", "--compute-resource-id", whole, "-o", "json")
    made = shell(*create, "-n", "far-1")
    assert made.json["computeResource"]["id"] == whole
    assert "mlmgmt: warning: Cluster 'far' is not known here, so compute 'local' is used." in made.err
    assert shell("env", "alias", "far", "local").code == 0
    assert "warning" not in shell(*create, "-n", "far-2").err
    assert shell("env", "alias", "far", "--remove").code == 0
    assert shell("env", "alias", "far").code == 2
    assert shell("env", "alias", "far", "moon").code == 1


def test_accounts(shell: Shell) -> None:
    words = ("account", "modelmanagement")
    create = (*words, "create", "-n", "acct", "-g", "group", "-l", "eastus2")
    made = shell(*create, "--sku-instances", "1", "--sku-name", "S1", "--tags", "a=b", "-v")
    assert made.code == 0, made.err
    assert "--location, --sku-instances, --sku-name, --tags" in made.err
    assert shell(*words, "set", "-n", "acct", "-g", "group").code == 0
    shown = shell(*words, "show", "-n", "acct", "-g", "group", "-o", "json").json
    assert {row["name"]: row["value"] for row in shown}["resource_group"] == "group"
    assert [row["name"] for row in shell(*words, "list", "-g", "group", "-o", "json").json] == ["acct"]
    assert shell(*words, "list", "-g", "other", "-o", "json").json == []
