"""Why a cluster cannot be used, as far as that needs no cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection
from mlmgmt_nb.service.compute.kubernetes.api.readiness import find_problem
from tests.support.kubernetes import free_port


def kubeconfig(folder: Path) -> str:
    """Write a kubeconfig for a cluster that does not listen; return its path."""
    file = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "away",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "away", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(json.dumps(content))
    return str(file)


@pytest.mark.parametrize("namespace", [None, "models"])
@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({}, "Unreachable", "Connection refused"),
        ({"context": "moon"}, "NoContext", "'moon'; it has away"),
        ({"kubeconfig": "/nowhere/kubeconfig"}, "BadKubeconfig", "/nowhere/kubeconfig"),
    ],
)
def test_a_problem_is_one_sentence(
    tmp_path: Path, namespace: str | None, changes: dict[str, str], code: str, words: str
) -> None:
    given = {"kubeconfig": kubeconfig(tmp_path), **changes}
    settings = ClusterSettings(namespace=namespace, **given)  # type: ignore[arg-type]
    problem = find_problem(Connection(settings), settings, "127.0.0.1:1/ml")
    assert problem is not None
    assert (problem.code, words in problem.message) == (code, True), problem


@pytest.mark.parametrize("namespace", [None, "models"])
def test_the_client_is_an_extra(tmp_path: Path, namespace: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    settings = ClusterSettings(kubeconfig=kubeconfig(tmp_path), namespace=namespace)
    problem = find_problem(Connection(settings), settings, None)
    assert problem is not None
    assert problem.code == "NotInstalled"
    assert "mlmgmt-nb[kubernetes]" in problem.message


class Reviewing:
    """In the place of a connection: the API server, which allows everything but one access."""

    namespace = "models"

    def __init__(self, resource: str, subresource: str, verb: str) -> None:
        self._denied = resource, subresource, verb

    def request(self, _method: str, _path: str, review: Any = None) -> Any:
        asked = review["spec"]["resourceAttributes"] if review else {}
        found = tuple(asked.get(name, "") for name in ("resource", "subresource", "verb"))
        return {"status": {"allowed": found != self._denied}}


class Away:
    """In the place of a connection: the API server does not respond."""

    namespace = "models"

    def __init__(self) -> None:
        self.requests = 0

    def request(self, *_arguments: Any) -> Any:
        self.requests += 1
        raise ClusterError("Unreachable", "The API server does not respond.")


def test_a_server_that_does_not_respond_gets_one_request() -> None:
    """The reviews of permissions are sent by threads, for whose time limits the end of the process would wait."""
    away: Any = Away()
    problem = find_problem(away, ClusterSettings(), None)
    assert problem is not None
    assert (problem.code, away.requests) == ("Unreachable", 1)


@pytest.mark.parametrize("verb", ["get", "create"])
def test_port_forwards_need_both_verbs(verb: str) -> None:
    """The request is a WebSocket, so the verb is `get`; since 1.35 the API server also asks for `create`."""
    connection: Any = Reviewing("pods", "portforward", verb)
    problem = find_problem(connection, ClusterSettings(reach="port-forward"), None)
    assert problem is not None
    assert problem.code == "Forbidden"
    assert problem.message.endswith(f": {verb} pods/portforward.")


BAD_KUBECONFIGS = {
    "no YAML": "a: [",
    "tabs": "contexts:\n\t- name: x",
    "no date": "a: 2001-99-99",
    "nothing": "",
    "a text": "hello",
    "a list": "[1, 2]",
    "no contexts": "contexts: 5\ncurrent-context: x",
    "no context": "contexts: [{name: x}]\ncurrent-context: x",
    "a deep one": "[" * 20_000,
}


@pytest.mark.parametrize("name", BAD_KUBECONFIGS)
def test_a_damaged_kubeconfig_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(BAD_KUBECONFIGS[name])
    settings = ClusterSettings(kubeconfig=str(file))
    problem = find_problem(Connection(settings), settings, None)
    assert problem is not None
    assert (problem.code, str(file) in problem.message, "\n" in problem.message) == ("BadKubeconfig", True, False)
