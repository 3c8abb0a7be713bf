"""Measure 1,000 connections of callers that are mostly idle: their memory, and the latency of others beside them.

Run it with `python -m tests.benchmarks.idle_connections`. Each connection has had one response and sends one request in
ten seconds. The load with and without them alternates in one run. Targets: 10 KiB of memory for each connection, and
the p99 as without them.
"""

from __future__ import annotations

import resource
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil

from mlmgmt_nb import connect, local
from tests.benchmarks.scoring_load import Load, run_load
from tests.benchmarks.table import show

CONNECTIONS = 1000
EACH_SECONDS = 10.0
ROUNDS = 3
SECONDS = 3.0


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder) / "score.py"
        driver.write_text("def init():\n    pass\n\ndef run(body):\n    return 1\n")
        (Path(folder) / "model.bin").write_bytes(b"none")
        endpoint = local.ensure(Path(folder) / "home")
        try:
            workspace = connect(home=Path(folder) / "home")
            service = workspace.deploy("idle", model=Path(folder) / "model.bin", driver=driver)
            key = workspace.services.keys(service).primary_key
            url = urlsplit(workspace.services.get("idle").scoring_uri or "")
            assert url.port is not None
            replica = next(child for child in psutil.Process(endpoint.pid).children() if child.cwd().endswith("/app"))
            headers = f"Authorization: Bearer {key}\r\n"
            request = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n{headers}Content-Length: 1\r\n\r\n1".encode()
            loads: dict[str, list[Load]] = {"alone": [], f"beside {CONNECTIONS:,}": []}
            growths: list[float] = []

            def load() -> Load:
                return run_load(replica.pid, url.port or 0, url.path, b"1", seconds=SECONDS, headers=headers)

            for _ in range(ROUNDS):
                alone, beside = loads.values()
                alone.append(load())
                before = replica.memory_full_info().uss
                with _idle(url.port, request):
                    growths.append((replica.memory_full_info().uss - before) / CONNECTIONS / 1024)
                    beside.append(load())
        finally:
            local.stop(Path(folder) / "home")
    _report(loads, growths[0])


def _report(loads: dict[str, list[Load]], growth: float) -> None:
    figures = {
        way: [median(values) for values in zip(*[(m.cpu_per_1000, m.p50_ms, m.p99_ms) for m in measured], strict=True)]
        for way, measured in loads.items()
    }
    alone = figures["alone"]
    show(
        f"connections that are mostly idle (medians of {ROUNDS}); {growth:.1f} KiB of memory each",
        ["", "CPU s/1000", "p50 ms", "p99 ms", "ratio of CPU", "ratio of p99"],
        [[way, *each, each[0] / alone[0], each[2] / alone[2]] for way, each in figures.items()],
    )


@contextmanager
def _idle(port: int, request: bytes) -> Iterator[None]:
    """Keep the connections open, and let each send a request now and then."""
    connections: list[socket.socket] = []
    ended = threading.Event()

    def call_in_turn() -> None:
        while not ended.is_set():
            for connection in connections:
                _call(connection, request)
                if ended.wait(EACH_SECONDS / CONNECTIONS):
                    return

    for _ in range(CONNECTIONS):
        connections.append(socket.create_connection(("127.0.0.1", port)))
        _call(connections[-1], request)
    calling = threading.Thread(target=call_in_turn)
    calling.start()
    try:
        yield
    finally:
        ended.set()
        calling.join()
        for connection in connections:
            connection.close()


def _call(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")


if __name__ == "__main__":
    main()
