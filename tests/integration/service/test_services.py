"""Services on local compute: from an image to scoring, through updates, keys and deletion."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.integration.service.drivers import ECHO, SAYS, WAITS, replicas, under_load
from tests.support.waiting import eventually


class TestLifecycle:
    def test_from_image_to_answer(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        model = api.model(name, (write_driver(ECHO, "m") / "score.py").as_uri() + "?model=1")
        image = api.image(write_driver(ECHO), name=name)
        service = api.service(image["id"], name)
        assert service["state"] == "Succeeded"
        assert service["error"] is None
        assert service["image"]["id"] == image["id"]
        assert service["numReplicas"] == 1
        assert service["scoringUri"].endswith(f"/api/v1/service/{name}/score")
        answer = api.score(service, '{"a": [1, 2]}')
        assert (answer.status_code, answer.json()) == (200, {"a": [1, 2]})
        origin = service["scoringUri"].partition("/api/")[0]
        assert requests.get(origin + "/", timeout=10).status_code == 200
        assert [s["id"] for s in api.get("/services", serviceName=name)["value"]] == [service["id"]]
        assert [s["id"] for s in api.get("/services", imageId=image["id"])["value"]] == [service["id"]]
        assert api.get("/services", modelId=model["id"])["value"] == []
        deployments = api.get("/deployments", serviceId=service["id"])
        assert [(d["imageId"], d["status"], d["expiredAt"]) for d in deployments] == [(image["id"], "Active", None)]
        assert api.get(f"/deployments/{deployments[0]['id']}") == deployments[0]

        taken = api.create(image["id"], name)
        assert (taken.status_code, taken.json()["code"]) == (409, "ServiceNameTaken")
        assert api.request("DELETE", f"/services/{service['id']}").status_code == 200
        assert api.request("DELETE", f"/services/{service['id']}").status_code == 204
        assert api.request("GET", f"/services/{service['id']}").status_code == 404
        eventually(lambda: not replicas(api, service), what="the end of the replica")
        eventually(lambda: not _answers(origin), what="the end of the port")
        assert api.get("/deployments", serviceId=service["id"])[0]["status"] == "Expired"
        again = api.service(image["id"], name)
        assert again["id"] != service["id"]

    def test_filters_by_what_a_service_is_made_of(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        folder = write_driver(ECHO)
        model = api.model(name, (write_driver(ECHO, "m") / "score.py").rename(folder.parent / "model.bin").as_uri())
        image = api.image(folder, model["id"], name=name)
        service = api.service(image["id"], name)
        assert [m["id"] for m in service["models"]] == [model["id"]]
        manifest_id = image["manifest"]["id"]
        for filters in (
            {"modelId": model["id"]},
            {"modelName": name},
            {"manifestId": manifest_id},
            {"manifestName": name},
            {"computeResourceId": "local", "serviceName": name, "modelName": name},
        ):
            assert [s["id"] for s in api.get("/services", **filters)["value"]] == [service["id"]], filters
        assert api.get("/services", modelName=name, manifestName="other")["value"] == []
        assert api.get("/services", computeResourceId="moon")["value"] == []

    def test_what_a_client_of_2017_sends(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        image = api.image(write_driver(ECHO))
        service = api.service(
            image["id"],
            name,
            autoScaler={},
            containerResourceReservation={},
            dataCollection={},
            appInsightsEnabled=None,
            computeResource={"id": "/subscriptions/s/x/local", "type": "Cluster"},
        )
        assert service["numReplicas"] == 1

    def test_an_image_that_is_not_built(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        folder = write_driver(ECHO)
        manifest = api.manifest(folder)
        (folder / "score.py").unlink()
        request = {"name": name, "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = api.operation(api.request("POST", "/images", json=request))
        refused = api.create(ended["resourceLocation"].rpartition("/")[2], name)
        assert (refused.status_code, refused.json()["code"]) == (409, "ImageNotReady")
        assert "is in state Failed, not Succeeded; read its build log and create" in refused.json()["message"]

    def test_a_reservation_that_cannot_be_met(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        image = api.image(write_driver(ECHO))
        for settings, path in (
            ({"containerResourceReservation": {"memory": "9999Ti"}}, "$.containerResourceReservation.memory"),
            ({"containerResourceReservation": {"cpu": "9999"}}, "$.containerResourceReservation.cpu"),
            ({"numReplicas": 10**6}, "$.numReplicas"),
            ({"autoScaler": {"autoscaleEnabled": True, "minReplicas": 10**6}}, "$.autoScaler.minReplicas"),
        ):
            refused = api.create(image["id"], name, **settings)
            assert (refused.status_code, refused.json()["code"]) == (409, "CapacityExceeded")
            assert path in refused.json()["message"]
        refused = api.create(image["id"], name, dataCollection={"eventHubEnabled": True})
        assert refused.status_code == 409
        assert "$.dataCollection.eventHubEnabled" in refused.json()["message"]


def _answers(origin: str) -> bool:
    host, _, port = origin.partition("://")[2].rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


class TestUpdate:
    def test_under_load_nothing_is_lost(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        first, second = (api.image(write_driver(SAYS % says, says), name=name) for says in ("one", "two"))
        service = api.service(first["id"], name, numReplicas=2)
        keys = api.get(f"/services/{service['id']}/keys")
        with under_load(api, service) as wrong:
            ended = api.operation(api.request("PUT", f"/services/{service['id']}", json={"imageId": second["id"]}))
            assert ended["state"] == "Succeeded", ended
            assert api.score(service, "1").json()["says"] == "two"
        assert wrong == []
        updated = api.get(f"/services/{service['id']}")
        assert updated["scoringUri"] == service["scoringUri"]
        assert updated["numReplicas"] == 2
        assert api.get(f"/services/{service['id']}/keys") == keys
        history = api.get("/deployments", serviceId=service["id"])
        assert [(d["imageId"], d["status"]) for d in history] == [(second["id"], "Active"), (first["id"], "Expired")]
        assert history[1]["expiredAt"] is not None
        eventually(lambda: len(replicas(api, updated)) == 2, what="two replicas")
        eventually(lambda: not replicas(api, service), what="the end of the first image's replicas")

    def test_a_driver_that_does_not_load_leaves_the_old_one(
        self, api: Any, write_driver: Callable[..., Path], name: str
    ) -> None:
        good = api.image(write_driver(SAYS % "good", "good"))
        bad = api.image(write_driver("def init():\n    raise RuntimeError('no weights')\ndef run(body): pass\n", "bad"))
        service = api.service(good["id"], name)
        with under_load(api, service) as wrong:
            ended = api.operation(api.request("PUT", f"/services/{service['id']}", json={"imageId": bad["id"]}))
        assert wrong == []
        assert ended["state"] == "Failed"
        assert "RuntimeError: no weights" in ended["error"]["message"]
        after = api.get(f"/services/{service['id']}")
        assert after["state"] == "Failed"
        assert after["image"]["id"] == good["id"]
        assert "no weights" in after["error"]["message"]
        assert [d["status"] for d in api.get("/deployments", serviceId=service["id"])] == ["Failed", "Active"]
        ended = api.operation(api.request("PUT", f"/services/{service['id']}", json={}))
        assert ended["state"] == "Succeeded"
        assert api.get(f"/services/{service['id']}")["error"] is None

    def test_one_operation_at_a_time(
        self, api: Any, write_driver: Callable[..., Path], name: str, tmp_path: Path
    ) -> None:
        hold = tmp_path / "hold"
        hold.touch()
        image = api.image(write_driver(WAITS % (str(hold), 1)))
        created = api.create(image["id"], name)
        service_id = api.request("GET", created.headers["Operation-Location"]).json()["resourceLocation"]
        for refused in (
            api.request("PUT", service_id, json={"numReplicas": 2}),
            api.request("POST", f"{service_id}/rollback"),
        ):
            assert (refused.status_code, refused.json()["code"]) == (409, "OperationUnderWay")
        hold.unlink()
        assert api.operation(created)["state"] == "Succeeded"

    def test_deleting_cancels_the_operation(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        slow = "import time\ndef init():\n    time.sleep(30)\ndef run(body):\n    return 1\n"
        created = api.create(api.image(write_driver(slow))["id"], name)
        location = api.request("GET", created.headers["Operation-Location"]).json()["resourceLocation"]
        assert api.request("DELETE", location).status_code == 200
        ended = api.operation(created)
        assert (ended["state"], ended["error"]["code"]) == ("Cancelled", "Removed")

    def test_replicas_and_autoscaler(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(ECHO))["id"], name)
        url = f"/services/{service['id']}"
        assert api.operation(api.request("PUT", url, json={"numReplicas": 3}))["state"] == "Succeeded"
        eventually(lambda: len(replicas(api, service)) == 3, what="three replicas")
        on = {"autoScaler": {"autoscaleEnabled": True, "minReplicas": 2, "maxReplicas": 4}}
        assert api.operation(api.request("PUT", url, json=on))["state"] == "Succeeded"
        after = api.get(url)
        assert (after["numReplicas"], after["autoScaler"]["maxReplicas"]) == (2, 4)
        refused = api.request("PUT", url, json={"numReplicas": 1})
        assert refused.status_code == 400
        assert "$.numReplicas" in refused.json()["message"]
        off = {"autoScaler": {"autoscaleEnabled": False}, "numReplicas": 0}
        assert api.operation(api.request("PUT", url, json=off))["state"] == "Succeeded"
        eventually(lambda: not replicas(api, service), what="the end of all replicas")
        refused = api.score(service, "1")
        assert (refused.status_code, refused.json()["code"]) == (503, "NoReplicas")
        assert refused.headers["retry-after"]


class TestKeys:
    def test_each_opens_and_the_old_one_ends(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(ECHO))["id"], name, numReplicas=2)
        pids = [process.pid for process in replicas(api, service)]
        url = f"/services/{service['id']}/keys"
        before = api.get(url)
        with under_load(api, service) as wrong:
            after = api.post(url, {"keyType": "Primary"})
            # The response comes when every replica has the new keys.
            for _ in range(20):
                assert api.score(service, "1", before["primaryKey"]).status_code == 401
                assert api.score(service, "1", after["primaryKey"]).status_code == 200
        assert wrong == []
        assert after["secondaryKey"] == before["secondaryKey"]
        alias = api.post(url.replace("/keys", "/regenerateKeys"), {"keyType": "Secondary"})
        assert alias["primaryKey"] == after["primaryKey"]
        assert alias["secondaryKey"] != before["secondaryKey"]
        assert api.post(url, {})["primaryKey"] != after["primaryKey"]
        assert [process.pid for process in replicas(api, service)] == pids

    def test_wrong_keys(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(ECHO))["id"], name)
        refused = api.score(service, "1", "wrong")
        assert refused.status_code == 401
        assert refused.json()["code"] == "Unauthorized"
