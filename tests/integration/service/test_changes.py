"""Records of changes, and rollbacks to the deployment that served before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

SAYS = """\
import os

def init():
    if {fails}:
        raise RuntimeError("this one does not start")

def run(body):
    return [{word!r}, os.environ.get("MODE"), os.environ.get("TOKEN")]
"""
RECORD = ("change", "reason", "changedBy")


def deployments(api: Any, service_id: str) -> list[dict[str, Any]]:
    answer = api.request("GET", "/deployments", params={"serviceId": service_id})
    found: list[dict[str, Any]] = answer.json()
    return found


def changed(api: Any, method: str, path: str, **options: Any) -> str:
    """Return the state of the operation that a request starts."""
    state: str = api.operation(api.request(method, path, **options))["state"]
    return state


def test_every_change_has_a_record_and_can_be_taken_back(
    api: Any, name: str, write_driver: Callable[..., Path]
) -> None:
    images = {
        word: api.image(write_driver(SAYS.format(word=word, fails=word == "broken"), word), name=f"{name}-{word}")
        for word in ("old", "new", "broken")
    }
    service = api.service(
        images["old"]["id"], name, reason="first", environment={"MODE": "fast"}, secrets={"TOKEN": "1"}
    )
    path = f"/services/{service['id']}"
    refused = api.request("POST", f"{path}/rollback")
    assert (refused.status_code, refused.json()["code"]) == (409, "NothingToRollBackTo")

    body = {
        "imageId": images["new"]["id"],
        "reason": "better",
        "environment": {"MODE": None},
        "secrets": {"TOKEN": "2"},
    }
    assert changed(api, "PUT", path, json=body) == "Succeeded"
    assert changed(api, "PUT", path, json={"imageId": images["broken"]["id"]}) == "Failed"
    assert api.score(service, "1").json() == ["new", None, "2"]

    assert changed(api, "POST", f"{path}/rollback", params={"reason": "too <slow>"}) == "Succeeded"
    assert api.score(service, "1").json() == ["old", "fast", "2"]  # the image and settings of then, secrets of now
    back, broken, new, old = deployments(api, service["id"])
    owner = "owner of the state folder"
    assert [tuple(one[key] for key in RECORD) for one in (back, broken, new, old)] == [
        ("rollback", "too <slow>", owner),
        ("update", None, owner),
        ("update", "better", owner),
        ("create", "first", owner),
    ]
    assert [one["replaces"] for one in (back, broken, new, old)] == [new["id"], new["id"], old["id"], None]
    assert back["restores"] == old["id"]
    assert api.get(f"/deployments/{back['id']}") == back
    assert api.get(path)["lastChange"] == back
    assert [one["id"] for one in api.get("/services", serviceName=name)["value"]] == [service["id"]]

    assert changed(api, "POST", f"{path}/rollback") == "Succeeded"  # of the rollback
    assert api.score(service, "1").json() == ["new", None, "2"]
    assert deployments(api, service["id"])[0]["restores"] == new["id"]
    refused = api.request("POST", f"{path}/rollback", params={"reason": "x" * 2000})
    assert (refused.status_code, refused.json()["details"][0]["code"]) == (400, "TooLong")
    assert api.request("POST", "/services/nowhere/rollback").status_code == 404
