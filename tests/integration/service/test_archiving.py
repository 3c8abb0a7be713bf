"""Archived versions: lists omit them on request, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.errors import NotFoundError

ECHO = "def init():\n    pass\n\ndef run(body):\n    return body\n"


@pytest.fixture
def ws(api: Any) -> Workspace:
    return connect(base_url=api.base_url, token=api.token)


def versions(pager: Any) -> list[int]:
    return [item.version for item in pager]


def test_a_model_by_name_and_by_id(ws: Workspace, name: str, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    for content in ("one", "two", "three"):
        file.write_text(content)
        ws.models.register(file, name)
    last = ws.models.get(name)
    archived = ws.models.archive(last)
    assert (archived.kind, archived.archived, [one.id for one in archived.versions]) == ("model", True, [last.id])
    assert str(archived) == (f"model {name!r} version 3 is archived. Lists omit archived versions; nothing is deleted.")
    # By name, the latest that is not archived; by id, every version.
    assert ws.models.get(name).version == 2
    assert ws.models.get(last.id or "").archived is True  # type: ignore[attr-defined]
    assert versions(ws.models.list(name=name)) == [2, 1]
    shown = ws.models.list(name=name, include_archived=True).to_frame()
    assert shown[["version", "archived"]].to_numpy().tolist() == [[3, True], [2, False], [1, False]]
    # Equal content of the latest version in lists makes no version.
    file.write_text("two")
    assert ws.models.register(file, name).version == 2
    assert str(ws.models.archive(last)) == "Nothing changed: the model is already archived."

    assert [one.version for one in ws.models.archive(name).versions] == [2, 1]
    with pytest.raises(NotFoundError, match=f"all versions of model {name!r} are archived"):
        ws.models.get(name)
    assert "3 versions, are in lists again" in str(ws.models.unarchive(name))
    assert ws.models.get(name) == last
    assert "archived" not in api_doc(ws, last.id or "")


def api_doc(ws: Workspace, model_id: str) -> dict[str, Any]:
    return dict(ws._transport.send("GET", f"/models/{model_id}").json())


def test_lists_of_the_contract_are_complete(api: Any, ws: Workspace, name: str, tmp_path: Path) -> None:
    """Clients of 2017 do not know the filter: they see every version."""
    file = tmp_path / "model.bin"
    for content in ("one", "two"):
        file.write_text(content)
        ws.models.register(file, name, tags=[name])
    ws.models.archive(ws.models.get(name))
    listed = api.get("/models", name=name)["value"]
    assert [(one["version"], one.get("archived")) for one in listed] == [(2, True), (1, None)]
    assert [one["version"] for one in api.get("/models", tag=name, archived="true")["value"]] == [2]
    assert [one["version"] for one in api.get("/models", tag=name, archived="false")["value"]] == [1]
    assert api.request("GET", "/models", params={"archived": "maybe"}).status_code == 400
    # Pages of a filtered list follow each other.
    page = api.get("/models", name=name, archived="false", count="1")
    assert [one["version"] for one in page["value"]] == [1]


def test_a_service_keeps_what_is_archived(
    ws: Workspace, name: str, write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    file, driver = tmp_path / "model.bin", write_driver(ECHO) / "score.py"
    file.write_text("model")
    first = ws.deploy(name, model=file, driver=driver)
    image = first.image
    assert image is not None
    assert first.models
    used: list[tuple[Any, Any]] = [(ws.models, first.models[0]), (ws.manifests, first.manifest), (ws.images, image)]
    for resources, resource in used:
        archived = resources.archive(resource)
        assert archived.services == [name]
        assert f"Services that still use it: {name}." in str(archived)
    assert not list(ws.images.list(manifest_name=name))
    assert [one.archived for one in ws.images.list(manifest_name=name, include_archived=True)] == [True]  # type: ignore[attr-defined]
    assert ws.images.get(image.id or "").archived
    file.write_text("another model")
    second = ws.deploy(name, model=file, driver=driver)
    assert second.image is not None
    assert second.image.id != image.id
    # It can go back, and be updated, to an image that no list has.
    back = ws.services.rollback(name).result(timeout=60)
    assert back.image is not None
    assert back.image.id == image.id
    assert ws.services.run(back, "x") == "x"
    assert [one.version for one in ws.images.archive(name).versions] == [2]
    ws.services.delete(name)
    assert ws.images.archive(image).services == []


@pytest.mark.parametrize("resources", ["models", "manifests", "images"])
def test_unknown_ids_and_names(api: Any, ws: Workspace, resources: str) -> None:
    for unknown in ("00000000-0000-0000-0000-000000000000", "no-such-name"):
        with pytest.raises(NotFoundError, match=f"no {resources[:-1]} has the (id|name) {unknown!r}"):
            getattr(ws, resources).archive(unknown)
    answer = api.request("POST", f"/{resources}/x/archive", params={"versions": "some"})
    assert answer.status_code == 400
