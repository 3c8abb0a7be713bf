"""A real Kubernetes cluster for tests, on this machine: one cluster for the session.

The program `cluster` starts it. Its folder is `MLMGMT_TEST_KUBERNETES`, or `../shared/kubernetes` beside the project;
the README there names the Debian packages that it needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import missing

__all__ = ["ClusterProcess", "free_port"]

_FOLDER = Path(__file__).parents[2] / ".." / "shared" / "kubernetes"
_PROGRAMS = ("etcd", "containerd", "runc", "docker-registry", "iptables", "conntrack", "ip", "openssl")


class ClusterProcess:
    """A cluster of two nodes, with a registry. A context manager.

    Args:
        folder: folder for the files of the cluster.
        reached: additional ports of this machine that pods can reach, at the address `GATEWAY`.
    """

    GATEWAY = "10.77.0.10"

    def __init__(self, folder: Path, reached: Sequence[int] = ()) -> None:
        self._program = Path(os.environ.get("MLMGMT_TEST_KUBERNETES") or _FOLDER) / "cluster"
        # It contains sockets, whose paths have to be short.
        self._work = folder
        self._ports = {"--port": free_port(), "--registry": free_port(), "--node-ports": _free_node_ports()}
        self.registry = f"127.0.0.1:{self._ports['--registry']}"
        self.index_port = free_port()
        self._reached = [self._ports["--registry"], self.index_port, *reached]
        self.kubeconfig = folder / "kubeconfig"
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> ClusterProcess:
        search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        lacking = [name for name in _PROGRAMS if shutil.which(name, path=search) is None]
        if not self._program.exists():
            # Neither this project nor a package index has the program, so CI cannot install it: skip in CI too.
            pytest.skip(f"there is no cluster program at {self._program}: set MLMGMT_TEST_KUBERNETES to its folder")
        if lacking or os.getuid() != 0:
            missing("the cluster of the tests", f"run as root, and install: {', '.join(lacking) or 'nothing'}")
        self.run(
            "up", "--nodes", "2", "--metrics", *(word for port in self._reached for word in ("--to-host", str(port)))
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.run("down")

    def run(self, *words: str) -> str:
        """Run a command of the program `cluster`."""
        ports = [word for option, port in self._ports.items() for word in (option, str(port))]
        name, *more = words  # the options of the program come before those of a command that it runs
        command = [str(self._program), name, "--work", str(self._work), *ports, *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def api(self, method: str, path: str, body: Any = None, *, context: str = "admin", **query: str) -> Any:
        """Send a request to the cluster, independently of the code under test."""
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._client(context).request(
            method, path, body=body, content_type=content, query_params=list(query.items()), serialize=False
        )
        return json.loads(answer.data)

    def _client(self, context: str) -> Any:
        """Return the client of a context. Its connection is kept: a new one takes longer than most requests."""
        if context not in self._clients:
            from kubernetes import config
            from kubernetes.dynamic import DynamicClient

            given = config.new_client_from_config(str(self.kubeconfig), context)
            self._clients[context] = DynamicClient(given, cache_file=str(self._work / f"{context}.json"))
        return self._clients[context]

    def settings(self, namespace: str, context: str = "admin", name: str = "kubernetes", **more: str | bool) -> str:
        """Return the settings of a service for this cluster."""
        given: Mapping[str, str | bool] = {
            "kubeconfig": str(self.kubeconfig),
            "context": context,
            "namespace": namespace,
            "registry": f"{self.registry}/ml",
            **more,
        }
        return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())


def _free_node_ports() -> int:
    """Return the first port of a range of 100 node ports that no other cluster on this machine uses."""
    for first in range(30000, 32700, 100):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", first))
            return first
    pytest.fail("all node ports are taken")


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
