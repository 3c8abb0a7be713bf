"""Measure scoring tests: the rate of the client itself, and the cost of 50,000 requests for the notebook.

Run it with `python -m tests.benchmarks.scoring_test [--requests 50000]`. The first table uses a server that only
answers: it compares the client of scoring tests with a load generator that measures only time, and with Python's HTTP
client in threads. The second is a cell in a kernel, against our service with a driver that does nothing: the messages
to the browser, and the CPU of the kernel's process. Targets: the client sends several times the rate that one replica
can answer; about ten updates per second; the kernel uses little CPU.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from mlmgmt_nb import local
from mlmgmt_nb.client import connect
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import cases_of
from mlmgmt_nb.client.scoring_tests.test import ScoringTest
from tests.benchmarks.kernel import cpu_seconds, run_cell
from tests.benchmarks.scoring_load import run_load
from tests.benchmarks.table import show

CONNECTIONS = 8
SECONDS = 3.0
CASES = [[number] for number in range(150)]
SERVER = """
import asyncio

class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""

    def data_received(self, data):
        data = self.rest + data
        while (end := data.find(b"\\r\\n\\r\\n")) >= 0:
            at = data.lower().find(b"content-length:")
            size = end + 4 + int(data[at + 15 : data.find(b"\\r\\n", at)])
            if len(data) < size:
                break
            data = data[size:]
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nx-ms-request-id: 56acb77f-2ead-4586-aceb-427f0ae53ff5\\r\\n"
                                 b"content-type: application/json\\r\\ncontent-length: 3\\r\\n\\r\\n[0]")
        self.rest = data

async def main():
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

try:
    import uvloop
    uvloop.run(main())
except ImportError:
    asyncio.run(main())
"""
DRIVER = "def run(body):\n    return [0]\n"
CELL = "report = %mlmgmt service test -n idle --cases cases --requests {} --concurrency {}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=50_000)
    requests = parser.parse_args().requests
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            _against_nothing(server.pid, int(server.stdout.readline()), requests)
        finally:
            server.kill()
    with tempfile.TemporaryDirectory() as folder:
        try:
            _in_a_kernel(Path(folder), requests)
        finally:
            local.stop(Path(folder) / "home")


def _against_nothing(pid: int, port: int, requests: int) -> None:
    url = f"http://127.0.0.1:{port}/score"
    load = run_load(pid, port, "/score", b"[1]", seconds=SECONDS, connections=CONNECTIONS)
    rows: list[list[object]] = [["load generator of the benchmarks", load.rate, "", ""]]
    for processes in (1, 2):
        cpu = time.process_time()
        summary = _test(url, requests, processes).run().summary
        kernel = time.process_time() - cpu
        rate, each = summary["requests_per_second"], summary["client_ms_per_request"]
        rows.append([f"scoring test, {processes} process(es)", rate, each, 1000 * kernel / requests])
    rate, each = _threads(url, requests // 5)
    rows.append(["http.client in threads of the kernel", rate, each, each])
    columns = ["client", "requests/s", "its CPU, ms/request", "the kernel's CPU, ms/request"]
    show(f"Against a server that does nothing ({CONNECTIONS} connections, {requests:,} requests)", columns, rows)


def _test(url: str, requests: int, processes: int) -> ScoringTest:
    nobody: Any = None
    cases = cases_of(CASES, {}, None)
    return ScoringTest(
        Scorer(nobody, url, "key"), cases, requests=requests, concurrency=CONNECTIONS, processes=processes
    )


def _threads(url: str, requests: int) -> tuple[float, float]:
    """Return requests per second, and milliseconds of CPU for each."""
    parts = urlsplit(url)

    def send() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        for _ in range(requests // CONNECTIONS):
            connection.request("POST", parts.path, b"[1]", {"Content-Type": "application/json"})
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return requests / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / requests


def _in_a_kernel(folder: Path, requests: int) -> None:
    (folder / "idle.py").write_text(DRIVER)
    with connect(home=folder / "home") as ws:
        service = ws.deploy("idle", driver=folder / "idle.py", max_concurrent_requests=50)
        uri, key = service.scoring_uri or "", ws.services.keys(service).primary_key
    endpoint, port = local.ensure(folder / "home"), urlsplit(uri).port or 0
    header = f"Authorization: Bearer {key}\r\n"
    path = urlsplit(uri).path
    limit = run_load(endpoint.pid, port, path, b"[1]", seconds=SECONDS, connections=CONNECTIONS, headers=header)
    environment = {**os.environ, "MLMGMT_HOME": str(folder / "home"), "IPYTHONDIR": str(folder / "ipython")}
    manager = KernelManager()
    manager.start_kernel(env=environment, cwd=str(folder))
    client: BlockingKernelClient = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        run_cell(client, f"%load_ext mlmgmt_nb\ncases = {CASES!r}\nimport pandas\n%mlmgmt service list")
        kernel = psutil.Process(manager.provisioner.pid)  # type: ignore[union-attr]
        cpu, memory, began = cpu_seconds(kernel), kernel.memory_info().rss, time.perf_counter()
        sent, size = run_cell(client, CELL.format(requests, CONNECTIONS))
        seconds, cpu = time.perf_counter() - began, cpu_seconds(kernel) - cpu
        grown = (kernel.memory_info().rss - memory) / 2**20
        rate = float(_value(client, "report.summary['requests_per_second']"))
        share = float(_value(client, "report.summary['client_share']"))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    messages = sum(sent.values())
    show(
        f"A cell that sends {requests:,} requests to a service of ours",
        ["figure", "value"],
        [
            ["requests/s of the scoring test", rate],
            ["requests/s of the load generator (the service's limit)", limit.rate],
            ["ratio", rate / limit.rate],
            ["share of the time that the client was busy", share],
            ["seconds of the cell", seconds],
            ["seconds of CPU of the kernel's process", cpu],
            ["its share of the time", cpu / seconds],
            ["MiB that the kernel grew by", grown],
            ["messages to the browser", messages],
            ["messages per second", messages / seconds],
            ["KiB to the browser", size / 1024],
            *[[f"  {kind}", count] for kind, count in sorted(sent.items())],
        ],
    )


def _value(client: BlockingKernelClient, expression: str) -> str:
    reply = client.execute_interactive("", user_expressions={"value": expression}, timeout=60)
    return str(reply["content"]["user_expressions"]["value"]["data"]["text/plain"])


if __name__ == "__main__":
    main()
