"""The workspace panel's reading of a real service: lists, lineage, and its text in a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.notebook.panels.workspace.actions import ACTIONS, act
from mlmgmt_nb.notebook.panels.workspace.kinds import KINDS
from mlmgmt_nb.notebook.panels.workspace.lineage import Lineage, trace
from mlmgmt_nb.notebook.panels.workspace.reading import read
from mlmgmt_nb.notebook.panels.workspace.state import WorkspaceState
from tests.integration.notebook.conftest import Notebook


@pytest.fixture(scope="module")
def ws(home: Path) -> Iterator[Workspace]:
    with connect(home=home) as ws:
        yield ws


@pytest.fixture(scope="module")
def made(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two versions of a service, and a service that did not start."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "score.py").write_text("def run(body): return 1\n")
    for content in ("first", "second"):
        (folder / "model.bin").write_text(content)
        service = ws.deploy("lineage", model=folder / "model.bin", model_name="ancestor", driver=folder / "score.py")
    image = service.image
    assert image is not None
    yield {
        "models": ws.models.get("ancestor"),
        "manifests": image.manifest,
        "images": image,
        "services": service,
        "deployments": next(iter(ws.deployments.list(service=service))),
        "operations": next(operation for operation in ws.operations.list()),
    }
    ws.services.delete("lineage")


def titles(graph: Lineage) -> dict[str, list[str]]:
    return {kind: [node.title for node in graph.nodes.values() if node.kind == kind] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_lineage_from_any_kind(ws: Workspace, made: dict[str, Any], kind: str) -> None:
    graph = trace(ws, kind, made[kind])
    shown = titles(graph)
    assert shown["models"] == ["ancestor 2"]
    assert shown["manifests"] == ["lineage 2"]
    assert shown["images"] == ["lineage 2"]
    assert shown["services"] == ["lineage"]
    assert len(shown["deployments"]) == (1 if kind == "deployments" else 2)
    ids = {name: made[name].id for name in ("models", "manifests", "images", "services", "deployments")}
    chain = list(ids.values())
    assert set(itertools.pairwise(chain)) <= graph.edges
    assert graph.center == (ids["services"] if kind == "operations" else made[kind].id)


def test_lineage_of_what_was_deleted(ws: Workspace, made: dict[str, Any], tmp_path: Path) -> None:
    service = ws.services.create("short-lived", made["images"].id).result()
    deployment = next(iter(ws.deployments.list(service=service)))
    operation = next(iter(ws.operations.list()))
    ws.services.delete("short-lived")
    assert (made["images"].id, deployment.id) in trace(ws, "deployments", deployment).edges
    assert trace(ws, "operations", operation).nodes == {}


def test_every_filter_of_every_list_is_one_that_the_service_takes(ws: Workspace, made: dict[str, Any]) -> None:
    values = {
        "name": "ancestor",
        "tag": None,
        "modelId": made["models"].id,
        "modelName": "ancestor",
        "manifestId": made["manifests"].id,
        "manifestName": "lineage",
        "imageId": made["images"].id,
        "serviceName": "lineage",
        "serviceId": made["services"].id,
        "computeResourceId": "local",
        "archived": "shown",
    }
    for kind in KINDS.values():
        state = WorkspaceState()
        state.choose(kind.id)
        for parameter in kind.filters:
            if values[parameter.name] is not None:
                state.filter(parameter.name, values[parameter.name])
        found = {item.id for item in read(ws, state.request()).items}
        assert made[kind.id].id in found
        for parameter in kind.filters:
            state.filter(parameter.name, "00000000-0000-0000-0000-000000000000")
        if kind.filters and kind.id != "deployments":
            assert not read(ws, state.request()).items


def test_a_version_is_archived_and_listed_again(ws: Workspace, made: dict[str, Any]) -> None:
    for kind in ("models", "manifests", "images"):
        assert act(ws, kind, made[kind], "archive") is None
        assert made[kind].id not in {item.id for item in getattr(ws, kind).list()}
        archived = getattr(ws, kind).get(made[kind].id)
        assert [action.id for action in ACTIONS[kind] if action.applies(archived)][-1] == "unarchive"
        assert act(ws, kind, archived, "unarchive") is None
        assert made[kind].id in {item.id for item in getattr(ws, kind).list()}


def test_in_a_terminal_it_is_the_commands_and_the_list(notebook: Notebook) -> None:
    notebook.run("%mlmgmt model register -m model.bin -n newest-of-all")
    shown = notebook.run("%mlmgmt")
    assert shown.result is None
    assert "usage: %mlmgmt COMMAND ..." in shown.out
    assert "newest-of-all  1" in shown.out
    panel = notebook.run("from mlmgmt_nb.notebook.panels import WorkspacePanel\npanel = WorkspacePanel()\npanel.show()")
    assert "newest-of-all  1" in panel.out
    assert notebook.run("panel.selected").result is None


def test_in_a_terminal_nothing_is_started_by_looking(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLMGMT_HOME", str(tmp_path / "none"))
    notebook = Notebook()
    assert "usage: %mlmgmt COMMAND ..." in notebook.run("%mlmgmt").out
    assert not (tmp_path / "none").exists()
    monkeypatch.setenv("MLMGMT_BASE_URL", "http://127.0.0.1:1/accounts/gone")
    out = notebook.run("%mlmgmt").out
    assert "no connection to http://127.0.0.1:1/accounts/gone/models" in out
    notebook.run("%unload_ext mlmgmt_nb")
