"""Drivers and helpers that tests of services share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import requests

from tests.conftest import ServiceProcess

ECHO = "def init():\n    pass\n\ndef run(body):\n    return body\n"
WAITS = (
    "import os, time\ndef init():\n    while os.path.exists(%r):\n        time.sleep(0.02)\n\n"
    "def run(body):\n    return %r\n"
)
"""It loads once a file is gone: what a test does meanwhile cannot come too late on a busy machine."""
SAYS = "import os\ndef init():\n    pass\n\ndef run(body):\n    return {'says': %r, 'pid': os.getpid()}\n"


def replicas(api: ServiceProcess, service: Any = None) -> list[psutil.Process]:
    """Return the processes of a service, or of all; not those that wait to become a replica."""
    application = f"/{service['image']['id']}/app" if service else "/app"
    return [process for process in api.children() if _folder(process).endswith(application)]


def trouble(api: ServiceProcess, url: str, code: str) -> dict[str, Any] | None:
    """Return the error of a service once it has this code."""
    error: dict[str, Any] | None = api.get(url)["error"]
    return error if error and error["code"] == code else None


def at_front_door(api: ServiceProcess, service: Any) -> Any:
    """Return the service, with its scoring URL at the front door."""
    origin = api.base_url.partition("/api/")[0]
    return {**service, "scoringUri": f"{origin}/api/v1/service/{service['name']}/score"}


def _folder(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@contextmanager
def under_load(
    api: ServiceProcess, service: Any, threads: int = 3, *, keep: bool = False, body: str = "1"
) -> Iterator[list[str]]:
    """Score again and again, on a new connection for each request or on a persistent one; return the failures."""
    key = api.get(f"/services/{service['id']}/keys")["secondaryKey"]
    wrong: list[str] = []
    done, asked = threading.Event(), []

    def ask() -> None:
        session = requests.Session() if keep else None
        while not done.wait(0.01):  # the cores are for the change that is tested
            asked.append(1)
            try:
                answer = api.score(service, body, key, session=session)
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
