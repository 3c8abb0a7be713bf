"""Withdrawals of versions: refused while something uses them, and undone when a service starts with them after all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


FAILS = "def init():\n    raise ValueError('no table')\n\ndef run(body):\n    return body\n"


def hand_over(api: Any, operation: str, ids: Sequence[str]) -> tuple[int, str]:
    """Let the service withdraw versions if an operation fails; return status and error code."""
    answer = api.request("POST", f"{operation}/withdraw", params={"versions": ",".join(ids)})
    return answer.status_code, answer.json()["code"] if answer.content else ""


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_service_withdraws_when_nobody_waits(
    api: Any, name: str, write_driver: Callable[..., Path], tmp_path: Path, when: str
) -> None:
    (tmp_path / "model.txt").write_text("model")
    model = api.model(name, url=(tmp_path / "model.txt").as_uri())
    driver = write_driver(FAILS)
    image = api.image(driver, model["id"], name=name)
    ids = [model["id"], image["manifest"]["id"], image["id"]]
    api.manifest(driver, model["id"], name=f"{name}-other")  # which keeps the model

    accepted = api.create(image["id"], name)
    operation = accepted.headers["Operation-Location"]
    assert hand_over(api, operation, [*ids, "nothing"]) == (404, "VersionNotFound")
    if when == "after":
        api.operation(accepted)
    assert hand_over(api, operation, ids) == (204, "")
    error = api.operation(accepted)["error"]
    assert "no table" in error["message"]
    (outcome,) = [detail["message"] for detail in error["details"] if detail["code"] == "Withdrawn"]
    version = image["version"]
    assert outcome == (
        f"image 'iris' version {version}, manifest {name!r} version 1 were withdrawn; "
        f"model {name!r} version 1 was left behind, because something uses it"
    )
    assert versions(api, name) == {"models": [1], "manifests": [], "images": []}


def test_the_image_of_a_failed_or_cancelled_build_is_withdrawn(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    manifest = api.manifest(write_driver(FAILS), name=name, properties={"pipRequirements": "file:///nowhere/r.txt"})
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    accepted = api.request("POST", "/images", json=request)
    assert hand_over(api, accepted.headers["Operation-Location"], [manifest["id"]]) == (204, "")
    assert api.operation(accepted)["state"] == "Failed"
    assert versions(api, name) == {"models": [], "manifests": [], "images": []}


def test_a_service_that_is_deleted_before_it_starts(api: Any, name: str, write_driver: Callable[..., Path]) -> None:
    image = api.image(write_driver("import time\n" + FAILS.replace("raise", "time.sleep(600); raise")), name=name)
    accepted = api.create(image["id"], name)
    operation = accepted.headers["Operation-Location"]
    assert hand_over(api, operation, [image["manifest"]["id"], image["id"]]) == (204, "")
    service_id = api.request("GET", operation).json()["resourceLocation"].rpartition("/")[2]
    api.request("DELETE", f"/services/{service_id}")
    assert api.request("GET", operation).json()["state"] == "Cancelled"
    assert versions(api, name) == {"models": [], "manifests": [], "images": []}
