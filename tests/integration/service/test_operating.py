"""A running service is changed, rolled back and deleted; its clients notice only what they must."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.integration.service.drivers import SAYS, WAITS, replicas, under_load
from tests.support.waiting import eventually

TELLS = (
    "import os, time\ndef init():\n    pass\ndef run(body):\n    time.sleep(float(body))\n"
    "    return os.environ.get('OMP_NUM_THREADS')\n"
)


class TestChanges:
    def test_each_setting_under_load(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(TELLS))["id"], name)
        url = f"/services/{service['id']}"
        keys = api.get(f"{url}/keys")
        changes: list[dict[str, Any]] = [
            {"containerResourceReservation": {"cpu": "300m", "memory": "256Mi"}},
            {"maxConcurrentRequestsPerContainer": 30},
            {"numReplicas": 2},
            {"autoScaler": {"autoscaleEnabled": True, "minReplicas": 1, "maxReplicas": 2}},
            {"autoScaler": {"autoscaleEnabled": False}, "numReplicas": 1},
        ]
        with under_load(api, service, body="0") as wrong:
            for change in changes:
                assert api.operation(api.request("PUT", url, json=change))["state"] == "Succeeded"
        assert wrong == []
        after = api.get(url)
        assert after["scoringUri"] == service["scoringUri"]
        assert api.get(f"{url}/keys") == keys
        assert after["containerResourceReservation"] == {"cpu": "300m", "memory": "256Mi"}
        assert after["maxConcurrentRequestsPerContainer"] == 30
        # They are in effect, not only stored: the driver sees its share, and 30 requests are accepted.
        assert api.score(service, "0").text == "1"
        with ThreadPoolExecutor(25) as threads:
            answers = list(threads.map(lambda _: api.score(service, "0.1", keys["primaryKey"]).status_code, range(25)))
        assert set(answers) == {200}

    def test_rolling_back_is_an_update_to_an_earlier_image(
        self, api: Any, write_driver: Callable[..., Path], name: str
    ) -> None:
        first, second = (api.image(write_driver(SAYS % says, says), name=name) for says in ("one", "two"))
        service = api.service(first["id"], name)
        url = f"/services/{service['id']}"
        for image, says in ((second, "two"), (first, "one")):
            assert api.operation(api.request("PUT", url, json={"imageId": image["id"]}))["state"] == "Succeeded"
            assert api.score(service, "1").json()["says"] == says
        history = api.get("/deployments", serviceId=service["id"])
        assert [(d["imageId"], d["status"]) for d in history] == [
            (first["id"], "Active"),
            (second["id"], "Expired"),
            (first["id"], "Expired"),
        ]

    def test_one_of_several_concurrent_updates_is_accepted(
        self, api: Any, write_driver: Callable[..., Path], name: str, tmp_path: Path
    ) -> None:
        # An update may end before a request that was late on a busy machine arrives; this one cannot, while `hold` is.
        hold = tmp_path / "hold"
        images = [api.image(write_driver(WAITS % (str(hold), n), f"d{n}"), name=name) for n in range(4)]
        service = api.service(images[0]["id"], name)
        url = f"/services/{service['id']}"
        changes = [
            {"imageId": image["id"], "maxConcurrentRequestsPerContainer": 10 + number}
            for number, image in enumerate(images)
        ]
        start = threading.Barrier(len(changes))

        def ask(change: dict[str, Any]) -> requests.Response:
            start.wait(30)
            headers = {"authorization": f"Bearer {api.token}"}  # a session is not thread-safe
            return requests.put(
                api.base_url + url,
                json=change,
                headers=headers,
                params={"api-version": "2017-09-01-preview"},
                timeout=60,
            )

        hold.touch()
        with ThreadPoolExecutor(len(changes)) as threads:
            answers = list(threads.map(ask, changes))
        hold.unlink()
        taken = [number for number, answer in enumerate(answers) if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert len(taken) == 1
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(409, "OperationUnderWay")}
        assert api.operation(answers[taken[0]])["state"] == "Succeeded"
        after = api.get(url)
        assert (after["image"]["id"], after["maxConcurrentRequestsPerContainer"]) == (
            images[taken[0]]["id"],
            10 + taken[0],
        )
        assert api.score(service, "1").json() == taken[0]
        assert len(api.get("/deployments", serviceId=service["id"])) == 2


def test_deleting_answers_what_was_accepted_and_leaves_nothing_but_the_history(
    api: Any, write_driver: Callable[..., Path], name: str
) -> None:
    service = api.service(api.image(write_driver(TELLS))["id"], name)
    url, address = f"/services/{service['id']}", urlsplit(service["scoringUri"])
    key = api.get(f"{url}/keys")["primaryKey"]
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(api.score, service, "2", key)
        health = service["scoringUri"].partition("/api/")[0]
        eventually(lambda: requests.get(health, timeout=30).json()["calls"] == 1, what="the request")
        assert [api.request("DELETE", url).status_code for _ in range(2)] == [200, 204]
        assert api.request("GET", url).status_code == 404
        assert slow.result().status_code == 200
    eventually(lambda: not replicas(api, service), what="the end of the replica")
    eventually(lambda: _is_free(address.hostname or "", address.port or 0), what="the end of the port")
    eventually(lambda: not (api.home / "logs" / "services" / service["id"]).exists(), what="the end of the log")
    assert api.request("DELETE", url).status_code == 204
    (deployment,) = api.get("/deployments", serviceId=service["id"])
    assert (deployment["status"], deployment["serviceName"]) == ("Expired", name)
    assert deployment["expiredAt"] is not None


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
