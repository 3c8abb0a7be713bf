"""Withdrawals of versions: refused while something uses them, and undone when a service starts with them after all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STARTS_WITH_A_VARIABLE = "import os\n\ndef init():\n    os.environ['WORD']\n\ndef run(body):\n    return body\n"


def withdraw(api: Any, collection: str, resource_id: str) -> tuple[int, str, str]:
    """Return status, error code and message."""
    answer = api.request("POST", f"/{collection}/{resource_id}/withdraw")
    error = answer.json() if answer.content else {}
    return answer.status_code, error.get("code", ""), error.get("message", "")


def listed(api: Any, collection: str, name: str) -> list[int]:
    filters = {"models": {"name": name}, "manifests": {"manifestName": name}, "images": {"manifestName": name}}
    return [one["version"] for one in api.get(f"/{collection}", **filters[collection])["value"]]


def versions(api: Any, name: str) -> dict[str, list[int]]:
    return {collection: listed(api, collection, name) for collection in ("models", "manifests", "images")}


def refusals(api: Any, name: str, ids: dict[str, str]) -> dict[str, str]:
    """Return the error codes of requests for new things that use withdrawn versions."""
    runtime = {"runtimeType": "Python", "properties": {}}
    assets = [{"id": "driver", "url": "file:///nowhere/score.py", "mimeType": "text/plain"}]
    manifest = {"name": name, "assets": assets, "driverProgram": "driver", "targetRuntime": runtime}
    image = {"name": name, "manifestId": ids["manifests"], "imageType": "Docker", "computeResourceId": "local"}
    answers = {
        "manifest": api.request("POST", "/manifests", json={**manifest, "modelIds": [ids["models"]]}),
        "image": api.request("POST", "/images", json=image),
        "service": api.create(ids["images"], f"{name}-2"),
    }
    return {what: answer.json()["code"] for what, answer in answers.items()}


def test_versions_of_a_service_that_does_not_start(
    api: Any, name: str, write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "model.txt"
    file.write_text("model")
    model = api.model(name, url=file.as_uri())
    image = api.image(write_driver(STARTS_WITH_A_VARIABLE), model["id"], name=name)
    ids = {"models": model["id"], "manifests": image["manifest"]["id"], "images": image["id"]}

    status, code, message = withdraw(api, "models", ids["models"])
    assert (status, code) == (409, "InUse")
    assert f"manifest {name!r} version 1" in message
    assert withdraw(api, "manifests", ids["manifests"])[:2] == (409, "InUse")

    ended = api.operation(api.create(image["id"], name))
    assert ended["state"] == "Failed"
    for _ in range(2):  # the second time changes nothing
        assert [withdraw(api, kind, ids[kind])[0] for kind in ("images", "manifests", "models")] == [204] * 3
    assert versions(api, name) == {"models": [], "manifests": [], "images": []}
    assert [api.get(f"/{kind}/{ids[kind]}")["version"] for kind in ("models", "manifests")] == [1, 1]
    assert api.request("GET", f"/images/{image['id']}/buildLog").status_code == 200
    assert refusals(api, name, ids) == {
        "manifest": "ModelNotFound",
        "image": "ManifestNotFound",
        "service": "ImageWithdrawn",
    }

    # Its number is not used again.
    assert api.model(name, url=file.as_uri())["version"] == 2

    # With another setting the service starts, so the versions are listed again.
    service_id = ended["resourceLocation"].rpartition("/")[2]
    changed = api.operation(api.request("PUT", f"/services/{service_id}", json={"environment": {"WORD": "x"}}))
    assert changed["state"] == "Succeeded"
    assert versions(api, name) == {"models": [2, 1], "manifests": [1], "images": [image["version"]]}
    status, code, message = withdraw(api, "images", image["id"])
    assert (status, code) == (409, "InUse")
    assert f"service {name!r}" in message
    api.request("DELETE", f"/services/{service_id}")
    assert withdraw(api, "images", image["id"])[0] == 204


@pytest.mark.parametrize("collection", ["models", "manifests", "images"])
def test_unknown_ids(api: Any, collection: str) -> None:
    assert withdraw(api, collection, "nothing")[:2] == (404, f"{collection[:-1].capitalize()}NotFound")
