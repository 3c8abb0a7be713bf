"""Real replicas: processes with a listening socket and a control channel of the test's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.waiting import DEADLINE, eventually


class Replica:
    """A supervised `python -m mlmgmt_nb.scoring`; the test is its supervisor."""

    def __init__(
        self, app: Path, log: Path, *, listener: socket.socket | None = None, python: str = sys.executable, **start: Any
    ) -> None:
        self.listener = listener or listen()
        self.control, theirs = socket.socketpair()
        self.control.settimeout(DEADLINE)
        fds = (self.listener.fileno(), theirs.fileno())
        command = [python, "-m", "mlmgmt_nb.scoring", "--app", str(app)]
        command += ["--fd", str(fds[0]), "--control-fd", str(fds[1])]
        self.log_path = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, pass_fds=fds, stdout=output, stderr=subprocess.STDOUT, env=own_environment(python)
            )
        theirs.close()
        self.name = start.get("name", "local")
        self.session = requests.Session()
        self._lines = self.control.makefile("rb")
        self.send({"type": "start", **start})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def send(self, message: dict[str, Any]) -> None:
        self.control.sendall(json.dumps(message).encode() + b"\n")

    def report(self, *kinds: str) -> dict[str, Any]:
        """Return the next report of one of these kinds."""
        while line := self._lines.readline():
            report: dict[str, Any] = json.loads(line)
            if report["type"] in kinds:
                return report
        raise AssertionError(f"the replica ended without a report {kinds}; its log:\n{self.log}")

    def ready(self) -> Replica:
        report = self.report("ready", "failed")
        assert report["type"] == "ready", report
        return self

    def score(self, body: str | bytes, **options: Any) -> requests.Response:
        return self.session.post(f"{self.url}/score", data=body, timeout=DEADLINE, **options)

    def disconnect(self) -> None:
        """End the control channel as the end of a supervisor does: reports are left unread."""
        self._lines.close()
        self.control.close()

    def close(self) -> None:
        self.session.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)
        self._lines.close()
        self.control.close()
        self.listener.close()


def own_environment(python: str) -> dict[str, str]:
    """Return the environment of a replica. Another interpreter finds the runtime in the project's folder, and keeps
    what it compiled in its environment: only what drivers import, and once.
    """
    if python == sys.executable:
        return dict(os.environ)
    compiled = Path(python).parents[1] / "compiled"
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONPYCACHEPREFIX": str(compiled)}


def listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Start a replica of a folder; all are ended after the test."""
    replicas: list[Replica] = []

    def start(app: Path, **options: Any) -> Replica:
        replica = Replica(app, tmp_path / f"replica-{len(replicas)}.log", **options)
        replicas.append(replica)
        return replica

    yield start
    for replica in replicas:
        replica.close()


@pytest.fixture
def drivers() -> Path:
    """Return the folder of sample drivers."""
    return Path(__file__).parents[2] / "drivers"


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make an application folder of one driver."""

    def make(source: str, name: str = "app") -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "score.py").write_text(source)
        return made

    return make


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _url_in(process: subprocess.Popen[bytes], log: Path) -> str | None:
    text = log.read_text()
    assert process.poll() is None, text
    return next((word for word in text.split() if word.startswith("http://")), None)


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], str, Path]]]:
    """Start `python -m mlmgmt_nb.scoring` as a user does; return the process, its URL and its log."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(app: Path, *options: str) -> tuple[subprocess.Popen[bytes], str, Path]:
        log = tmp_path / "by-hand.log"
        command = [sys.executable, "-m", "mlmgmt_nb.scoring", "--app", str(app), "--port", "0", *options]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": ""}
            )
        processes.append(process)
        url = eventually(lambda: _url_in(process, log), what="the URL in the log")
        return process, url.partition("/api/")[0], log

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()
