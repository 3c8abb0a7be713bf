"""Services on local compute: from an image to answers, through updates, keys, crashes and deletion."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import ServiceProcess, eventually

ECHO = "def init():\n    pass\n\ndef run(body):\n    return body\n"
SAYS = "import os\ndef init():\n    pass\n\ndef run(body):\n    return {'says': %r, 'pid': os.getpid()}\n"


def replicas(api: ServiceProcess, service: Any) -> list[psutil.Process]:
    """The processes of a service."""
    context = f"/{service['image']['id']}/"
    return [process for process in api.children() if context in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@contextmanager
def under_load(api: ServiceProcess, service: Any, threads: int = 3) -> Iterator[list[str]]:
    """Scores all the time, each request on a connection of its own; gives what went wrong."""
    key = api.get(f"/services/{service['id']}/keys")["secondaryKey"]
    wrong: list[str] = []
    done, asked = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            asked.append(1)
            try:
                answer = api.score(service, "1", key)
                if answer.status_code != 200:
                    wrong.append(answer.text)
            except requests.RequestException as error:
                wrong.append(repr(error))

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield wrong
    finally:
        done.set()
        for worker in workers:
            worker.join()
    assert asked


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

    def test_one_operation_at_a_time(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        slow = "import time\ndef init():\n    time.sleep(1)\ndef run(body):\n    return 1\n"
        image = api.image(write_driver(slow))
        created = api.create(image["id"], name)
        service_id = api.request("GET", created.headers["Operation-Location"]).json()["resourceLocation"]
        refused = api.request("PUT", service_id, json={"numReplicas": 2})
        assert (refused.status_code, refused.json()["code"]) == (409, "OperationUnderWay")
        assert api.operation(created)["state"] == "Succeeded"

    def test_deleting_cancels_the_operation(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        slow = "import time\ndef init():\n    time.sleep(30)\ndef run(body):\n    return 1\n"
        created = api.create(api.image(write_driver(slow))["id"], name)
        location = api.request("GET", created.headers["Operation-Location"]).json()["resourceLocation"]
        assert api.request("DELETE", location).status_code == 200
        assert api.operation(created)["state"] == "Cancelled"

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

    def test_asleep_until_a_request_comes(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(ECHO))["id"], name)
        asleep = {"autoScaler": {"autoscaleEnabled": True, "minReplicas": 0, "maxReplicas": 2}}
        url = f"/services/{service['id']}"
        assert api.operation(api.request("PUT", url, json=asleep))["state"] == "Succeeded"
        eventually(lambda: api.get(url)["numReplicas"] == 0, timeout=90, what="falling asleep")
        eventually(lambda: not replicas(api, service), what="the end of the replica")
        assert api.score(service, "1").status_code == 200
        assert api.get(url)["numReplicas"] == 1


class TestKeys:
    def test_each_opens_and_the_old_one_ends(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(ECHO))["id"], name, numReplicas=2)
        pids = [process.pid for process in replicas(api, service)]
        url = f"/services/{service['id']}/keys"
        before = api.get(url)
        with under_load(api, service) as wrong:
            after = api.post(url, {"keyType": "Primary"})
            # The answer comes when it is so in every replica.
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


BAD_DRIVERS = {
    "syntax": ("def run(body:\n    pass\n", "SyntaxError"),
    "no run": ("def init():\n    pass\n", "run"),
    "init": (
        "def init():\n    raise ValueError('no such file: weights')\ndef run(body): pass\n",
        "ValueError: no such file",
    ),
    "exits": ("import os\ndef init():\n    os._exit(7)\ndef run(body): pass\n", "exit code 7"),
    "killed": (
        "import os, signal\ndef init():\n    os.kill(os.getpid(), signal.SIGKILL)\ndef run(body): pass\n",
        "SIGKILL",
    ),
}


class TestBadDrivers:
    @pytest.mark.parametrize("kind", BAD_DRIVERS)
    def test_the_operation_says_why(self, api: Any, write_driver: Callable[..., Path], name: str, kind: str) -> None:
        source, reason = BAD_DRIVERS[kind]
        created = api.create(api.image(write_driver(source))["id"], name)
        ended = api.operation(created)
        assert ended["state"] == "Failed"
        assert reason in ended["error"]["message"]
        log = next(d["message"] for d in ended["error"]["details"] if d["code"] == "Log")
        if kind in {"syntax", "init"}:
            assert reason in api.log(log)
            assert "score.py" in api.log(log)
        assert api.request("DELETE", ended["resourceLocation"]).status_code == 200

    def test_init_that_does_not_return(
        self, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path]
    ) -> None:
        api = start_service("--start-timeout", "1")
        hangs = "import time\ndef init():\n    time.sleep(600)\ndef run(body): pass\n"
        ended = api.operation(api.create(api.image(write_driver(hangs))["id"]))
        assert ended["error"]["code"] == "StartTimeout"
        eventually(lambda: not api.children(), what="the end of the replica")

    def test_output_without_end(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        prints = (
            "def init():\n    for n in range(10 ** 6):\n        print(n, 'x' * 92)\n\ndef run(body):\n    return 1\n"
        )
        service = api.service(api.image(write_driver(prints))["id"], name)
        assert api.score(service, "1").status_code == 200
        log = api.log(f"/services/{service['id']}/logs")
        assert "999999 xxx" in log
        kept = sum(path.stat().st_size for path in (api.home / "logs" / "services" / service["id"]).iterdir())
        assert kept < 21 * 2**20

    def test_a_replica_that_dies_is_replaced(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        service = api.service(api.image(write_driver(SAYS % "x"))["id"], name)
        pid = api.score(service, "1").json()["pid"]
        os.kill(pid, signal.SIGKILL)
        # The socket is the service's: the request waits for the next replica rather than being refused.
        other = eventually(lambda: _says(api, service), what="another answer")["pid"]
        assert other != pid
        assert "SIGKILL" in api.log(f"/services/{service['id']}/logs")

    def test_a_crash_loop_backs_off_and_says_so(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        # Loads well the first time, then never again.
        source = (
            "import os\nmark = {mark!r}\ndef init():\n    if os.path.exists(mark):\n        os._exit(5)\n"
            "    open(mark, 'w').close()\ndef run(body):\n    return os._exit(4) if body == 'die' else 1\n"
        )
        folder = write_driver(source.format(mark=f"/tmp/{name}.mark"))
        try:
            service = api.service(api.image(folder)["id"], name)
            with pytest.raises(requests.RequestException):
                api.score(service, "die")
            url = f"/services/{service['id']}"
            error = eventually(lambda: api.get(url)["error"], what="the report")
            assert error["code"] == "CrashLoop"
            assert "exit code 5" in error["message"]
            log = eventually(lambda: _backed_off(api.log(f"{url}/logs")), what="backing off")
            assert "the next start is in" in log
        finally:
            Path(f"/tmp/{name}.mark").unlink(missing_ok=True)
        assert eventually(lambda: _says(api, service), what="the recovery")


def _says(api: Any, service: Any) -> Any:
    try:
        answer = api.score(service, "1")
    except requests.RequestException:
        return None
    return answer.json() if answer.status_code == 200 else None


def _backed_off(log: str) -> str | None:
    return log if "3 crashes in a row" in log else None


class TestAutoscaler:
    def test_up_under_load_and_awake_on_a_request(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        slow = "import time\ndef init():\n    pass\ndef run(body):\n    time.sleep(0.5)\n    return 1\n"
        auto = {"autoscaleEnabled": True, "minReplicas": 1, "maxReplicas": 3, "targetUtilization": 50}
        service = api.service(
            api.image(write_driver(slow))["id"], name, autoScaler=auto, maxConcurrentRequestsPerContainer=4
        )
        url = f"/services/{service['id']}"
        with under_load(api, service, threads=4) as wrong:
            eventually(lambda: api.get(url)["numReplicas"] >= 2, what="the second replica")
            eventually(lambda: len(replicas(api, service)) >= 2, what="its process")
        assert wrong == []
        assert "autoscaler: 1 -> 2" in api.log(f"{url}/logs")

    def test_the_concurrency_limit(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        slow = "import time\ndef init():\n    pass\ndef run(body):\n    time.sleep(1)\n    return 1\n"
        service = api.service(api.image(write_driver(slow))["id"], name, maxConcurrentRequestsPerContainer=2)
        answers: list[int] = []
        key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
        threads = [
            threading.Thread(target=lambda: answers.append(api.score(service, "1", key).status_code)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(set(answers)) == [200, 503]


def test_metrics(api: Any, write_driver: Callable[..., Path], name: str) -> None:
    source = "def init():\n    pass\ndef run(body):\n    return 1 // int(body)\n"
    service = api.service(api.image(write_driver(source))["id"], name)
    assert [api.score(service, body).status_code for body in ("1", "0", "2")] == [200, 500, 200]
    url = api.base_url.partition("/api/")[0] + "/metrics"
    labels = f'{{account="local/local/default",service="{name}"'

    def value(metric: str, more: str = "") -> float:
        lines = api.request("GET", url).text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{metric}{labels}{more}}}")).rpartition(" ")[2])

    eventually(lambda: value("mlmgmt_requests_total") == 3, what="the count of the requests")
    assert value("mlmgmt_request_failures_total") == 1
    assert value("mlmgmt_slots") == 10
    assert value("mlmgmt_replicas", ',state="ready"') == 1
    # What ended replicas counted is not lost.
    assert (
        api.operation(api.request("PUT", f"/services/{service['id']}", json={"numReplicas": 2}))["state"] == "Succeeded"
    )
    assert value("mlmgmt_requests_total") == 3
    assert api.request("GET", url, headers={"authorization": ""}).status_code == 401


def test_no_key_or_token_in_logs_arguments_or_environments(
    api: Any, write_driver: Callable[..., Path], name: str
) -> None:
    service = api.service(api.image(write_driver(ECHO))["id"], name)
    keys = api.get(f"/services/{service['id']}/keys")
    api.score(service, "{", keys["primaryKey"])
    for path in [*(api.home / "logs").rglob("*.log"), api.home.with_name("home.output")]:
        text = path.read_text(errors="replace")
        assert keys["primaryKey"] not in text, path
        assert api.token not in text, path
    for process in [psutil.Process(api.process.pid), *api.children()]:
        shown = json.dumps([process.cmdline(), process.environ()])
        assert keys["primaryKey"] not in shown
        assert api.token not in shown
