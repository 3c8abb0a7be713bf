"""Drivers and requests of the tests of compute `kubernetes`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests

from tests.conftest import ServiceProcess
from tests.support.searches import thorough

_PAUSE = thorough(in_ci=10, elsewhere=30) / 1000
"""Seconds between two requests of a load."""
SAYS = """import os

def init():
    print("hello from", os.environ.get("WORD"))
    open(os.path.expanduser("~/written"), "w").close()

def run(body):
    print("called with", body)
    return [{word!r}, os.environ.get("WORD"), os.environ.get("SECRET"), os.environ["HOSTNAME"]]
"""


def build(api: ServiceProcess, folder: Path, name: str, compute: str = "kubernetes") -> Any:
    manifest = api.manifest(folder, name=name)
    request = {"name": name, "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": compute}
    ended = api.operation(api.request("POST", "/images", json=request), timeout=120)
    assert ended["state"] == "Succeeded", (ended, api.log(ended["resourceLocation"] + "/buildLog"))
    return api.get("/images/" + ended["resourceLocation"].rpartition("/")[2])


def create(api: ServiceProcess, image: Any, name: str, **more: Any) -> requests.Response:
    return api.create(image["id"], name, computeResource={"id": "kubernetes", "type": "Cluster"}, **more)


def serve(api: ServiceProcess, image: Any, name: str, **more: Any) -> Any:
    ended = api.operation(create(api, image, name, **more))
    assert ended["state"] == "Succeeded", (ended, api.log(ended["resourceLocation"] + "/logs"))
    return api.get("/services/" + ended["resourceLocation"].rpartition("/")[2])


def score(api: ServiceProcess, service: Any, key: str | None = None) -> Any:
    answer = api.score(service, "1", key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def answers(api: ServiceProcess, service: Any) -> bool:
    """Return whether a service answers now."""
    try:
        return api.score(service, "1").status_code == 200
    except requests.ConnectionError:
        return False


class Load:
    """Requests to a service, one after another, while the block runs. A context manager.

    Attributes:
        answers: the results.
        failures: what was no result.
        failed_at: when these requests began, as `time.monotonic` tells.
    """

    def __init__(self, api: ServiceProcess, service: Any, url: str | None = None, key: str | None = None) -> None:
        self.answers: list[Any] = []
        self.failures: list[str] = []
        self.failed_at: list[float] = []
        self._url = url or service["scoringUri"]
        self._key = key or api.get(f"/services/{service['id']}/keys")["primaryKey"]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        while not self._ended.wait(_PAUSE):
            began = time.monotonic()
            try:
                answer = requests.post(self._url, data="1", headers=headers, timeout=30)
            except requests.RequestException as error:
                self._fail(began, str(error))
                continue
            if answer.status_code == 200:
                self.answers.append(answer.json())
            else:
                self._fail(began, answer.text)

    def _fail(self, began: float, failure: str) -> None:
        self.failures.append(failure)
        self.failed_at.append(began)


@contextmanager
def own_config(folder: Path) -> Iterator[None]:
    """Have commands keep their settings in a folder."""
    with patch.dict(os.environ, {"MLMGMT_CONFIG": str(folder / "config.toml")}):
        yield


def configure(file: Path, settings: str) -> None:
    """Replace the settings of the clusters of a service that runs: it reads them at any time, and never a part."""
    new = file.with_suffix(".new")
    new.write_text(settings)
    new.replace(file)
