"""Faults of drivers: they start processes that leave their group and session, and ignore signals."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

import psutil
import requests

from mlmgmt_nb import local
from tests.conftest import lives
from tests.faults.scene import Scene, command_of, random_moment
from tests.integration.service.drivers import replicas
from tests.support.waiting import eventually

__all__ = ["leave_children"]

_CHILDREN = """\
import os, subprocess, sys

SLEEPS = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]


def start(mark):
    marked = [*SLEEPS, mark]
    subprocess.Popen(marked, start_new_session=True)
    subprocess.Popen(["nohup", *marked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.Popen(["setsid", "--fork", *marked], cwd="/")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(marked[0], marked)
        os._exit(0)
    os.wait()


def init():
    start({mark!r})


def run(body):
    start({mark!r})
    return 1
"""
_AT_LEAST = 8


def leave_children(scene: Scene, moments: random.Random) -> None:
    """Run a driver whose processes have sessions of their own (`setsid`, `nohup`, a double fork) and ignore SIGTERM:
    none outlives its replica, its service, or an orderly stop, and none that outlives a crash outlives the next start.
    """
    mark = f"child-{uuid.UUID(int=moments.getrandbits(128))}"
    image = scene.api.image(scene.driver("leaves", _CHILDREN.replace("{mark!r}", repr(mark))))
    loose = scene.api.service(image["id"], "loose")
    assert scene.api.score(loose, "1").json() == 1
    eventually(lambda: len(marked(mark)) >= _AT_LEAST, what="its processes")
    random_moment(moments, 0.5)
    moments.choice(_ENDS)(scene, loose, mark)
    if scene.api.request("GET", f"/services/{loose['id']}").status_code == 200:
        assert scene.api.request("DELETE", f"/services/{loose['id']}").status_code == 200
    eventually(lambda: not marked(mark), what="the end of all its processes")


def marked(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if mark in command_of(process) and lives(process)]


def _delete(scene: Scene, service: Any, _: str) -> None:
    assert scene.api.request("DELETE", f"/services/{service['id']}").status_code == 200


def _kill_replica(scene: Scene, service: Any, mark: str) -> None:
    before = {process.pid for process in marked(mark)}
    replicas(scene.api, service)[0].kill()
    eventually(lambda: not before & {process.pid for process in marked(mark)}, what="the end of its processes")


def _stop(scene: Scene, _: Any, mark: str) -> None:
    assert local.stop(scene.api.home) is True
    assert marked(mark) == []
    scene.api.process.wait(10)
    scene.api.start()


def _crash(scene: Scene, service: Any, mark: str) -> None:
    before = {process.pid for process in marked(mark)}
    scene.api.kill()
    scene.api.start()
    eventually(lambda: not before & {process.pid for process in marked(mark)}, what="the end of its processes")
    eventually(lambda: _scores(scene, service), what="an answer of its service")


def _scores(scene: Scene, service: Any) -> bool:
    try:
        return scene.api.score(service, "1").status_code == 200
    except requests.RequestException:
        return False


_ENDS: list[Callable[[Scene, Any, str], None]] = [_delete, _kill_replica, _stop, _crash]
