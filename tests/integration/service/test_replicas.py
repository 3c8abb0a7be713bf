"""Replicas on local compute: drivers that fail, autoscaling, metrics, and secrets."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import ServiceProcess, lives
from tests.integration.service.drivers import ECHO, SAYS, at_front_door, replicas
from tests.support.waiting import eventually

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
        eventually(lambda: not replicas(api), what="the end of the replica")

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
        # The socket belongs to the service: the request waits for the next replica instead of being refused.
        other = eventually(lambda: _says(api, service), what="another answer")["pid"]
        assert other != pid
        assert "SIGKILL" in api.log(f"/services/{service['id']}/logs")

    def test_a_crash_loop_backs_off_and_says_so(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        # Loads the first time, then never again.
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


CHILD = """
import os, subprocess, sys

def init():
    global pid
    wait = "import time; time.sleep(600)"
    pid = subprocess.Popen([sys.executable, "-c", wait], start_new_session=True).pid

def run(body):
    if body == "die":
        os.kill(os.getpid(), 9)
    return pid
"""


@pytest.mark.parametrize("ends", ["dies", "deleted"])
def test_children_with_sessions_of_their_own_end_with_their_replica(
    api: Any, write_driver: Callable[..., Path], name: str, ends: str
) -> None:
    service = api.service(api.image(write_driver(CHILD))["id"], name)
    child = psutil.Process(api.score(service, "1").json())
    if ends == "dies":
        with pytest.raises(requests.ConnectionError):
            api.score(service, "die")
    else:
        assert api.request("DELETE", f"/services/{service['id']}").ok
    eventually(lambda: not lives(child), what="the end of the child")


def test_the_concurrency_limit(api: Any, write_driver: Callable[..., Path], name: str) -> None:
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
    assert value("mlmgmt_replicas_wanted") == 1
    eventually(lambda: value("mlmgmt_request_seconds_count") == 3, what="the count of the answers")
    assert 0 < value("mlmgmt_request_seconds_sum") < 60
    # The metrics of one service, beside it.
    own = api.request("GET", f"/services/{service['id']}/metrics").text
    assert f"mlmgmt_requests_total{labels}}} 3.0" in own
    assert own.count("mlmgmt_requests_total{") == 1
    assert f'mlmgmt_request_seconds_bucket{{account="local/local/default",le="60.0",service="{name}"}} 3.0' in own
    assert "mlmgmt_operations" not in own
    assert api.request("GET", "/services/nobody/metrics").status_code == 404
    # Counts of ended replicas are not lost.
    assert (
        api.operation(api.request("PUT", f"/services/{service['id']}", json={"numReplicas": 2}))["state"] == "Succeeded"
    )
    assert value("mlmgmt_requests_total") == 3
    assert api.request("GET", url, headers={"authorization": ""}).status_code == 401


WHO = """
import os, time

def init():
    pass

def run(body):
    time.sleep(0.3)
    return os.getpid()
"""


@pytest.mark.parametrize("way", [None, at_front_door], ids=["port", "front door"])
def test_a_replica_with_room_is_called_before_one_whose_calls_wait(
    api: Any, write_driver: Callable[..., Path], name: str, way: Callable[..., Any] | None
) -> None:
    """Callers without kept connections: six calls at a time for two replicas with four places each."""
    service = api.service(
        api.image(write_driver(WHO))["id"],
        name,
        maxConcurrentRequestsPerContainer=4,
        autoScaler={"autoscaleEnabled": False},
        numReplicas=2,
    )
    called = way(api, service) if way else service
    key = api.get(f"/services/{service['id']}/keys")["primaryKey"]
    answers: Counter[object] = Counter()
    with ThreadPoolExecutor(6) as pool:
        for _ in range(10):
            for answer in pool.map(lambda _: api.score(called, "1", key), range(6)):
                answers[answer.json() if answer.ok else answer.status_code] += 1
    assert answers.pop(503, 0) <= 1, answers  # both would have to be stopped by a busy machine for 50 ms
    assert len(answers) == 2
    assert min(answers.values()) >= 20, answers


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
