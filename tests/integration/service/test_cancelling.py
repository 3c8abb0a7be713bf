"""`POST operations/{id}/cancel`: cancellation of builds and rollouts in progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.conftest import ServiceProcess
from tests.integration.service.drivers import replicas
from tests.support.endless_build import endless_package
from tests.support.waiting import eventually

ONE = "def init(): pass\ndef run(body): return 1\n"
NEVER_READY = "import time\ndef init(): time.sleep(600)\ndef run(body): return 2\n"


def cancel(api: ServiceProcess, accepted: requests.Response) -> requests.Response:
    assert accepted.status_code == 202, accepted.text
    return api.request("POST", accepted.headers["Operation-Location"] + "/cancel")


def ask_for_image(api: ServiceProcess, folder: Path, *packages: Path, **properties: str) -> requests.Response:
    manifest = api.manifest(folder, packages=packages, properties=properties)
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    return api.request("POST", "/images", json=request)


def running(word: str, below: ServiceProcess) -> list[psutil.Process]:
    found = []
    for child in below.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended after it was listed
            if word in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_build_stops_with_its_processes(
    api: ServiceProcess, write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    wanted = tmp_path / "requirements.txt"
    package = endless_package(tmp_path / "endless", "canary-of-a-build")
    wanted.write_text(f"./packages/1/{package.name}\n")
    accepted = ask_for_image(api, write_driver(ONE), package, pipRequirements=wanted.as_uri())
    eventually(lambda: running("canary-of-a-build", api), what="the build of the package")
    answer = cancel(api, accepted)
    assert answer.status_code == 200
    ended = answer.json()
    assert ended["state"] == "Cancelled"
    assert ended["error"]["code"] == "Cancelled"
    image = api.get("/images/" + ended["resourceLocation"].rpartition("/")[2])
    assert image["creationState"] == "Cancelled"
    eventually(lambda: not running("canary-of-a-build", api), what="the end of the build's processes")
    eventually(lambda: "The build was cancelled" in api.log(image["imageBuildLogUri"]), what="the line in the log")
    assert api.get("/images/" + image["id"])["creationState"] == "Cancelled"
    assert not (api.home / "images" / image["id"]).exists()
    # The worker is free for the next build.
    assert api.image(write_driver(ONE, "next"))["creationState"] == "Succeeded"


def test_an_update_that_is_cancelled_leaves_what_was_there(
    api: ServiceProcess, write_driver: Callable[..., Path], name: str
) -> None:
    service = api.service(api.image(write_driver(ONE))["id"], name)
    slow = api.image(write_driver(NEVER_READY, "slow"))
    accepted = api.request("PUT", f"/services/{service['id']}", json={"imageId": slow["id"]})
    eventually(lambda: replicas(api, {"image": slow}), what="the replica of the update")
    assert cancel(api, accepted).json()["state"] == "Cancelled"
    after = api.get(f"/services/{service['id']}")
    assert after["state"] == "Cancelled"
    assert after["error"]["code"] == "Cancelled"
    assert after["image"]["id"] == service["image"]["id"]
    assert api.score(service, "0").text == "1"
    eventually(lambda: not replicas(api, {"image": slow}), what="the end of the replica of the update")
    deployments = api.get("/deployments", serviceId=service["id"])
    assert [deployment["status"] for deployment in deployments] == ["Cancelled", "Active"]
    # The next update can begin, and succeeds.
    ended = api.operation(api.request("PUT", f"/services/{service['id']}", json={"numReplicas": 2}))
    assert ended["state"] == "Succeeded", ended
    assert api.get(f"/services/{service['id']}")["error"] is None


def test_a_service_that_is_cancelled_can_be_deleted(
    api: ServiceProcess, write_driver: Callable[..., Path], name: str
) -> None:
    accepted = api.create(api.image(write_driver(NEVER_READY))["id"], name)
    ended = cancel(api, accepted).json()
    assert ended["state"] == "Cancelled"
    service = api.get("/services/" + ended["resourceLocation"].rpartition("/")[2])
    assert service["state"] == "Cancelled"
    assert api.request("DELETE", f"/services/{service['id']}").status_code == 200


def test_what_has_ended_stays_as_it_is(api: ServiceProcess, write_driver: Callable[..., Path]) -> None:
    accepted = ask_for_image(api, write_driver(ONE))
    assert api.operation(accepted)["state"] == "Succeeded"
    refused = cancel(api, accepted)
    assert refused.status_code == 409
    assert refused.json()["code"] == "OperationEnded"
    assert "Succeeded" in refused.json()["message"]
    assert api.operation(accepted)["state"] == "Succeeded"


def test_cancelling_twice_changes_nothing(api: ServiceProcess, write_driver: Callable[..., Path], name: str) -> None:
    accepted = api.create(api.image(write_driver(NEVER_READY))["id"], name)
    first: Any = cancel(api, accepted).json()
    again = cancel(api, accepted)
    assert again.status_code == 200
    assert again.json() == first


def test_an_unknown_operation(api: ServiceProcess) -> None:
    answer = api.request("POST", "/operations/nowhere/cancel")
    assert answer.status_code == 404
    assert answer.json()["code"] == "OperationNotFound"
