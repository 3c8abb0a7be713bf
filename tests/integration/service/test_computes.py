"""Computes by the resource ids of 2017, and aliases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.integration.service.drivers import ECHO

WHOLE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningCompute/operationalizationClusters/{}"


def put_alias(api: Any, name: str, compute: str) -> Any:
    return api.request("PUT", f"/computes/{quote(name, safe='')}", params={"computeId": compute})


def build(api: Any, folder: Path, name: str, compute: str) -> tuple[Any, Any]:
    """Return the operation and the image."""
    manifest = api.manifest(folder, name=name)
    request = {"name": name, "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": compute}
    ended = api.operation(api.request("POST", "/images", json=request))
    assert ended["state"] == "Succeeded", ended
    return ended, api.get("/images/" + ended["resourceLocation"].rpartition("/")[2])


def test_a_cluster_of_2017(api: Any, write_driver: Callable[..., Path], name: str) -> None:
    unknown, known = WHOLE.format(f"moon-{name}"), WHOLE.format(f"sun-{name}")
    assert put_alias(api, f"sun-{name}", "local").json() == {"id": f"sun-{name}", "aliasOf": "local"}
    folder = write_driver(ECHO)
    for given in (unknown, known):
        ended, image = build(api, folder, name, given)
        assert image["computeResourceId"] == given
        service_name = f"{name}-{'u' if given == unknown else 'k'}"
        compute = {"id": given, "type": "Cluster"}
        started = api.operation(api.create(image["id"], service_name, computeResource=compute))
        service = api.get("/services/" + started["resourceLocation"].rpartition("/")[2])
        assert service["computeResource"] == compute
        assert service["image"]["computeResourceId"] == given
        assert api.score(service, "[1]").json() == [1]
        for operation in (ended, started):
            assert (operation["warning"] is not None) == (given == unknown)
        assert [s["id"] for s in api.get("/services", computeResourceId=given)["value"]] == [service["id"]]
        updated = api.operation(api.request("PUT", f"/services/{service['id']}", json={"imageId": image["id"]}))
        assert updated["state"] == "Succeeded"
        after = api.get(f"/services/{service['id']}")
        assert after["computeResource"] == compute
        assert (service["warning"], after["warning"]) == (started["warning"], updated["warning"])
    mine = {s["name"] for s in api.get("/services", computeResourceId="local")["value"]}
    assert {f"{name}-u", f"{name}-k"} <= mine
    listed = {each["id"]: each.get("aliasOf") for each in api.get("/computes")["value"]}
    assert listed[f"sun-{name}"] == "local"
    # An image or service keeps its compute when the alias is removed.
    assert api.request("DELETE", f"/computes/sun-{name}").status_code == 200
    assert api.request("DELETE", f"/computes/sun-{name}").status_code == 204
    assert api.get(f"/services/{service['id']}")["computeResource"] == compute


def test_unknown_computes_are_refused_with_those_there_are(api: Any, write_driver: Callable[..., Path]) -> None:
    manifest = api.manifest(write_driver(ECHO))
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "moon"}
    refused = api.request("POST", "/images", json=request)
    assert refused.status_code == 404
    assert "$.computeResourceId: There is no compute with the id 'moon'" in refused.json()["message"]
    assert "The computes are: docker, local" in refused.json()["message"]
    created = api.create("some-image", "iris", computeResource={"id": "moon", "type": "Cluster"})
    assert (created.status_code, "$.computeResource.id" in created.text) == (404, True)


def test_aliases_that_cannot_be(api: Any) -> None:
    for name, compute, status, path in (
        ("team", "moon", 404, "computeId: "),
        ("team", "", 404, "computeId: "),
        ("docker", "local", 400, "id: "),
        ("x" * 2000, "local", 400, "id: "),
    ):
        refused = put_alias(api, name, compute)
        assert (refused.status_code, refused.json()["message"].startswith(path)) == (status, True), refused.text
    whole = WHOLE.format("whole")
    assert put_alias(api, whole, "local").status_code == 200
    assert whole in {each["id"] for each in api.get("/computes")["value"]}
    assert api.request("DELETE", f"/computes/{quote(whole, safe='')}").status_code == 200


def test_preparing_a_replica(api: Any, name: str) -> None:
    def prepare(compute: str = "local", **query: str) -> Any:
        return api.request("POST", f"/computes/{compute}/prepare", params=query)

    assert prepare(serviceName=name, modules="colorsys,json.decoder").status_code == 204
    assert prepare(serviceName=name, modules="colorsys", pythonInterpreter="/no/such/python").status_code == 204
    refused = {
        "modules": prepare(serviceName=name, modules="os;print(1)"),
        "modules: has": prepare(serviceName=name, modules=",".join(["colorsys"] * 201)),
        "serviceName": prepare(modules="colorsys"),
    }
    for field, answer in refused.items():
        assert answer.status_code == 400, answer.text
        assert field in answer.json()["message"]
    assert prepare("docker", serviceName=name).status_code == 404
