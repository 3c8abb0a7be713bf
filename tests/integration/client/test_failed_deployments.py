"""Deployments that fail, at each of their steps: they leave the versions that were there before, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.deploying.flow import DeployFlow
from mlmgmt_nb.client.deploying.sources import DeploySource

DEADLINE = 120.0
UNREADABLE = "file:///nowhere/table.csv"
BROKEN = "def init():\n    raise ValueError('no table')\n\ndef run(body):\n    return body\n"


def versions(ws: Workspace, name: str) -> list[tuple[str, int | None]]:
    """Return the versions that are listed."""
    kinds = {
        "model": ws.models.list(name=f"{name}-model"),
        "manifest": ws.manifests.list(manifest_name=name),
        "image": ws.images.list(manifest_name=name),
    }
    return [(kind, one.version) for kind, several in kinds.items() for one in several]  # type: ignore[attr-defined]


def deploy(ws: Workspace, name: str, folder: Path, **more: Any) -> Any:
    (folder / "model.bin").write_text(more.pop("content", "one"))
    given = {"model": folder / "model.bin", "model_name": f"{name}-model", "driver": folder / "score.py"}
    return ws.deploy(name, timeout=DEADLINE, **{**given, **more})


def build(ws: Workspace, name: str, folder: Path, **more: Any) -> Any:
    """Build an image as `image create` does."""
    source = DeploySource(models=[folder / "model.bin"], model_name=f"{name}-model", driver=folder / "score.py", **more)
    return DeployFlow(ws, name, compute_resource_id="local").start_build(source).result(DEADLINE)


FAILURES: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "build": (deploy, {"dependencies": [UNREADABLE]}, "table.csv"),
    "image-create": (build, {"dependencies": [UNREADABLE]}, "table.csv"),
    "start": (deploy, {}, "no table"),
    "refused": (deploy, {"memory": "9000Gi"}, "memory"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_new_service(ws: Workspace, echo: Path, failure: str) -> None:
    call, arguments, words = FAILURES[failure]
    if failure == "start":
        (echo / "score.py").write_text(BROKEN)
    name = f"fails-{failure}"
    with pytest.raises(errors.MlmgmtError, match=words) as raised:
        call(ws, name, echo, **arguments)
    assert versions(ws, name) == []
    withdrawn = f"image {name!r} version 1, manifest {name!r} version 1, model '{name}-model' version 1 were withdrawn"
    assert withdrawn in str(raised.value)
    if isinstance(raised.value, errors.OperationFailed):  # the log can still be read
        poller = ws.operations.poller(raised.value.continuation_token)
        poller.wait(DEADLINE)
        assert words in poller.log().text
    ws.services.delete(name)


def test_a_service_that_nobody_waits_for(ws: Workspace, echo: Path) -> None:
    (echo / "score.py").write_text(BROKEN)
    (echo / "model.bin").write_text("one")
    source = DeploySource(models=[echo / "model.bin"], model_name="alone-model", driver=echo / "score.py")
    flow = DeployFlow(ws, "fails-alone", compute_resource_id="local")
    starting = flow.start(flow.build(source), {}, None)  # as `service create --no-wait` does
    assert ws.operations.wait(starting.operation_id, DEADLINE).state == "Failed"  # which withdraws nothing by itself
    assert versions(ws, "fails-alone") == []
    ws.services.delete("fails-alone")


def test_an_update(ws: Workspace, echo: Path) -> None:
    service = deploy(ws, "fails-update", echo)
    before = versions(ws, "fails-update")
    (echo / "score.py").write_text(BROKEN)
    with pytest.raises(errors.OperationFailed, match="no table") as raised:
        deploy(ws, "fails-update", echo)  # with the model of before, which stays
    assert "image 'fails-update' version 2, manifest 'fails-update' version 2 were withdrawn" in str(raised.value)
    assert versions(ws, "fails-update") == before
    assert ws.services.run(service, {})["model"] == "one"
    ws.services.delete(service)


def test_the_same_deployment_again(ws: Workspace, echo: Path) -> None:
    deploy(ws, "same-bytes", echo)
    reused: list[Any] = []
    service = deploy(ws, "same-bytes", echo, on_reuse=reused.append)
    assert [(type(one).__name__, one.version) for one in reused] == [("Model", 1), ("Manifest", 1)]
    assert versions(ws, "same-bytes") == [("model", 1), ("manifest", 1), ("image", 2), ("image", 1)]
    service = deploy(ws, "same-bytes", echo, description="another")
    assert versions(ws, "same-bytes")[:4] == [("model", 2), ("model", 1), ("manifest", 2), ("manifest", 1)]
    deploy(ws, "same-bytes", echo, description="another", new_version=True)
    assert versions(ws, "same-bytes")[0] == ("model", 3)
    assert ws.manifests.get("same-bytes").version == 3
    ws.services.delete(service)
