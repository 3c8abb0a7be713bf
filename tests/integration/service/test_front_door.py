"""The port of the API in front of every service: the front door returns the same responses as a service's own port."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from tests.conftest import ServiceProcess
from tests.integration.service.drivers import ECHO, SAYS, at_front_door, replicas, under_load
from tests.support.waiting import eventually

SLEEPS = "import time\ndef init():\n    pass\ndef run(body):\n    time.sleep(int(body))\n    return 1\n"
BIG = 24 * 2**20
RAW = (
    "import hashlib\nfrom azureml.contrib.services.aml_request import rawhttp\n"
    "from azureml.contrib.services.aml_response import AMLResponse\n"
    "def init():\n    pass\n"
    "@rawhttp\ndef run(request):\n"
    "    if request.method != 'POST':\n"
    "        return AMLResponse(request.method + ' ' + request.full_path, 200)\n"
    "    data = request.get_data(False)\n"
    "    headers = {'x-digest': hashlib.sha256(data).hexdigest(), 'x-from': request.headers['x-forwarded-for']}\n"
    "    return AMLResponse(data[::-1], 200, headers)\n"
)


@pytest.fixture
def behind(api: ServiceProcess, write_driver: Callable[..., Path], name: str) -> Callable[..., Any]:
    """Start a service and return it, with its URL at the front door."""

    def start(driver: str, **settings: Any) -> Any:
        return at_front_door(api, api.service(api.image(write_driver(driver))["id"], name, **settings))

    return start


class TestAnswers:
    def test_it_answers_as_the_port_of_the_service_does(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(ECHO)
        key = api.get(f"/services/{service['id']}/keys")["secondaryKey"]
        direct = api.get(f"/services/{service['id']}")
        for body in ('{"a": [1, 2]}', ""):
            mine, theirs = (api.score(one, body, key) for one in (service, direct))
            assert (mine.status_code, mine.content) == (theirs.status_code, theirs.content)
            assert {n.lower() for n in mine.headers} == {n.lower() for n in theirs.headers}
            assert mine.headers["content-type"] == theirs.headers["content-type"]
        traced = requests.post(
            service["scoringUri"],
            "1",
            headers={"authorization": f"Bearer {key}", "x-ms-request-id": "mine"},
            timeout=30,
        )
        assert traced.headers["x-ms-request-id"] == "mine"
        swagger = service["scoringUri"].replace("/score", "/swagger.json")
        described = requests.get(swagger, headers={"authorization": f"Bearer {key}"}, timeout=30)
        assert described.json()["info"]["title"] == service["name"]
        for path in ("", "/"):
            health = requests.get(service["scoringUri"].removesuffix("/score") + path, timeout=30)
            assert health.json()["status"] == "healthy"
        wrong_method = requests.get(service["scoringUri"], timeout=30)
        assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "POST, GET, OPTIONS")

    def test_the_key_opens_and_the_token_of_the_api_does_not(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(ECHO)
        for key in (api.token, "wrong"):
            refused = api.score(service, "1", key)
            assert (refused.status_code, refused.json()["code"]) == (401, "Unauthorized")
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        assert api.request("GET", "/services", headers={"authorization": f"Bearer {key}"}).status_code == 401
        foreign = requests.post(
            service["scoringUri"], "1", headers={"authorization": f"Bearer {key}", "host": "evil.example"}, timeout=30
        )
        assert foreign.status_code == 403

    def test_a_service_that_is_not_there(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(ECHO)
        assert api.score(service, "1").status_code == 200
        nobody = {**service, "scoringUri": service["scoringUri"].replace(service["name"], "nobody")}
        refused = api.score(nobody, "1")
        assert (refused.status_code, refused.json()["code"]) == (404, "ServiceNotFound")
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        assert api.request("DELETE", f"/services/{service['id']}").status_code == 200
        eventually(lambda: api.score(service, "1", key).status_code == 404, what="the end of the service")

    def test_methods_queries_and_headers_reach_the_driver(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(RAW)
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        headers = {"authorization": f"Bearer {key}"}
        url = service["scoringUri"] + "?a=1&b=%20x"
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            answer = requests.request(method, url, headers=headers, timeout=30)
            assert answer.text == f"{method} {urlsplit(url).path}?a=1&b=%20x"
        assert requests.head(url, headers=headers, timeout=30).status_code == 200
        assert api.score(service, "abc").headers["x-from"] == "127.0.0.1"


class TestStreaming:
    def test_large_bodies_go_both_ways_and_are_never_held_whole(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(RAW)
        data = os.urandom(BIG)
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        headers = {"authorization": f"Bearer {key}"}
        requests.post(service["scoringUri"], "1", headers=headers, timeout=30)
        process = psutil.Process(api.process.pid)
        before = process.memory_info().rss

        def pieces() -> Iterator[bytes]:  # sent chunked, with unknown length
            for start in range(0, BIG, 2**18):
                yield data[start : start + 2**18]

        for body in (data, pieces()):
            most = before
            with requests.post(service["scoringUri"], body, headers=headers, timeout=60, stream=True) as answer:
                assert answer.headers["x-digest"] == hashlib.sha256(data).hexdigest()
                received = bytearray()
                for chunk in answer.iter_content(2**18):
                    received += chunk
                    most = max(most, process.memory_info().rss)
            assert bytes(received) == data[::-1]
            assert most - before < BIG / 2

    def test_a_body_that_is_too_large_is_refused_while_it_is_sent(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(ECHO)
        refused = api.score(service, "x" * (33 * 2**20))
        assert (refused.status_code, refused.json()["code"]) == (413, "BodyTooLarge")
        assert api.score(service, "1").status_code == 200

    def test_the_replica_notices_that_a_client_disconnected(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(SLEEPS)
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        replica = replicas(api, service)[0]
        parts = urlsplit(service["scoringUri"])
        # forwarded to its own port, or handed over
        ports = {urlsplit(api.get(f"/services/{service['id']}")["scoringUri"]).port, parts.port}

        def connections() -> int:
            kinds = {psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT}
            found = [c for c in replica.net_connections("tcp") if c.laddr.port in ports and c.status in kinds]
            return len(found)

        for length in (10, 1):  # an incomplete body; a complete one that the driver is processing
            client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            client.putrequest("POST", parts.path)
            client.putheader("authorization", f"Bearer {key}")
            client.putheader("content-length", str(length))
            client.endheaders(b"3")
            eventually(lambda: connections() == 1, what="the connection to the replica")
            client.close()
            eventually(lambda: connections() == 0, what="its end")
        eventually(lambda: _hung_up(api.log(f"/services/{service['id']}/logs")) == 2, what="both in the log")


class TestWhatHappensBehind:
    def test_updates_and_new_keys_under_load(
        self, api: Any, write_driver: Callable[..., Path], behind: Callable[..., Any]
    ) -> None:
        service = behind(SAYS % "one", numReplicas=2)
        second = api.image(write_driver(SAYS % "two", "second"))
        url = f"/services/{service['id']}"
        for kept in (True, False):
            with under_load(api, service, keep=kept) as wrong:
                for change in ({"imageId": second["id"]}, {"imageId": service["image"]["id"]}):
                    assert api.operation(api.request("PUT", url, json=change))["state"] == "Succeeded"
                api.post(f"{url}/keys", {"keyType": "Primary"})
            assert wrong == []

    def test_a_replica_that_is_killed_loses_only_its_requests(self, api: Any, behind: Callable[..., Any]) -> None:
        service = behind(
            "import time\ndef init():\n    pass\ndef run(body):\n    time.sleep(int(body))\n    return 1\n"
        )
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        parts = urlsplit(service["scoringUri"])
        client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        client.request("POST", parts.path, "60", {"authorization": f"Bearer {key}"})
        url = service["scoringUri"].removesuffix("/score")
        eventually(lambda: requests.get(url, timeout=30).json()["calls"] == 1, what="the call")
        os.kill(replicas(api, service)[0].pid, signal.SIGKILL)
        lost = client.getresponse()
        assert (lost.status, json.loads(lost.read())["code"]) == (502, "ReplicaLost")
        assert api.score(service, "0", key).status_code == 200


def _hung_up(log: str) -> int:
    return log.replace(" ", "").count('"status":499')


def test_a_public_url_is_where_scoring_urls_lead(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    public = f"http://localhost:{port}"
    api = start_service("--port", str(port), "--public-url", public + "/")
    service = api.service(api.image(write_driver(ECHO))["id"])
    assert service["scoringUri"] == f"{public}/api/v1/service/iris/score"
    assert api.score(service, '{"a": 1}').json() == {"a": 1}
    # Another account may use the name too; its service is addressed by its id.
    other_url = api.base_url.replace("/accounts/default", "/accounts/other")
    image = _image_in(api, other_url, write_driver(ECHO, "other"))
    given = {"name": "iris", "imageId": image, "computeResource": {"id": "local", "type": "Cluster"}}
    ended = api.operation(api.request("POST", f"{other_url}/services", json=given))
    other = api.request("GET", ended["resourceLocation"]).json()
    assert other["scoringUri"] == f"{public}/api/v1/service/{other['id']}/score"
    key = api.request("GET", f"{other_url}/services/{other['id']}/keys").json()["primaryKey"]
    assert api.score(other, "2", key).text == "2"
    assert api.score(service, "2", key).status_code == 401
    assert requests.get(other["scoringUri"].removesuffix("/score"), timeout=30).json()["status"] == "healthy"
    assert api.get(f"/services/{service['id']}")["scoringUri"] == service["scoringUri"]


def _image_in(api: ServiceProcess, base_url: str, folder: Path) -> str:
    asset = {"id": "score.py", "url": (folder / "score.py").as_uri(), "mimeType": "text/plain"}
    runtime = {"runtimeType": "Python", "properties": {}}
    manifest = {"name": "iris", "assets": [asset], "driverProgram": "score.py", "targetRuntime": runtime}
    made = api.request("POST", f"{base_url}/manifests", json=manifest)
    request = {"name": "iris", "manifestId": made.json()["id"], "imageType": "Docker", "computeResourceId": "local"}
    ended = api.operation(api.request("POST", f"{base_url}/images", json=request))
    return str(ended["resourceLocation"].rpartition("/")[2])
