"""Web servers of tests as processes, and the environment of Jupyter."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import requests

from tests.acceptance.panels.kernels import install_kernels
from tests.support.waiting import DEADLINE, eventually

__all__ = ["Server", "jupyter_environment"]


class Server:
    """A web server as a process of its own, in folders of its own.

    Args:
        folder: for its files; `work` in it is where notebooks are.
        arguments: after `python -m`; `{port}` in them is where it listens.
        alive: a path that answers 200 once it is up.
        environment: what its process has besides.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], alive: str, environment: dict[str, str]) -> None:
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self._log = folder / "server.log"
        self._port_file = folder / "port"
        self.url = f"http://127.0.0.1:{_free_port()}"
        port = self.url.rpartition(":")[2]
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.work,
                env=environment,
                start_new_session=True,
            )
        eventually(lambda: self._answers(alive), DEADLINE, f"the start of {arguments[0]}")

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            return requests.get(self.url + path, timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        """Stop it and its kernels."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(15)
        for child in children:
            if child.is_running():
                child.kill()
        psutil.wait_procs(children, timeout=15)


def jupyter_environment(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return an environment in which Jupyter keeps to a folder and has the kernels of the tests."""
    install_kernels(folder / "kernels")
    folders = {
        name: str(folder / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    return {**os.environ, **folders, "JUPYTER_PATH": str(folder / "kernels"), **environment}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
