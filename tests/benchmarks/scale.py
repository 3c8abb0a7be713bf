"""Simulate a scale that no test reaches: a million models, thousands of sleeping services, a hundred kernels that poll.

Run it with `python -m tests.benchmarks.scale`. The rows are inserted directly into the database of a real service. Each
simulated kernel is a thread with its own connection, which reads an operation as often as a client of a server on
another machine does. The figures are CPU seconds and memory of the service process, and the times of requests.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import psutil
import requests
from sqlalchemy import func, insert, select

from mlmgmt_nb import local
from mlmgmt_nb.client import connect
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from tests.benchmarks.listing import fill
from tests.benchmarks.service_lists import insert_services
from tests.benchmarks.table import show

ACCOUNT = "local/local/default"
LIBRARY = "library"
"""Account of the models."""
POLL_SECONDS = 2.0
"""As `mlmgmt_nb.client.operations` polls servers on other machines."""
ROUNDS = 5
OPEN_SECONDS = 180
MIB = 2**20
OF_NAME, OF_TAG = "models of one name", "100 models of a tag"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--services", type=int, default=9_000, help="that sleep (default: %(default)s)")
    parser.add_argument("--kernels", type=int, default=100, help="that poll (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of rest and of polling (default: %(default)s)")
    given = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        operations = _fill(Path(folder), given.models, given.services, given.kernels)
        began = time.perf_counter()
        endpoint = local.ensure(folder)
        rows.append(["start until the API answers, s", time.perf_counter() - began])
        try:
            service = psutil.Process(endpoint.pid)
            opened = _wait_for_ports(Path(folder), given.services)
            rows.append([f"start until {opened:,} services listen, s", time.perf_counter() - began])
            rows.append(["memory of the service, MiB", service.memory_info().rss / MIB])
            rows.append(["open files of the service", service.num_fds()])
            rest = _cpu(service, lambda: time.sleep(given.seconds))
            rows.append(["rest, % of a core", 100 * rest / given.seconds])
            with connect(home=folder) as ws, connect(home=folder, account=LIBRARY) as library:
                lists: dict[str, Callable[[], object]] = {
                    "the first page of models": lambda: next(library.models.list(count=100).by_page()),
                    OF_NAME: lambda: list(library.models.list(name=f"model-{given.models // 2}")),
                    OF_TAG: lambda: next(library.models.list(tag="group-3", count=100).by_page()),
                    "the first page of services": lambda: next(ws.services.list(count=100).by_page()),
                }
                milliseconds = {name: 1000 * _median_seconds(action) for name, action in lists.items()}
                rows += [[f"{name}, ms", value] for name, value in milliseconds.items()]
                rows.append(["models of a tag, beside those of one name", milliseconds[OF_TAG] / milliseconds[OF_NAME]])
            token = endpoint.token_file.read_text().strip()
            urls = [f"{endpoint.base_url}/operations/{id_}?api-version=2017-09-01-preview" for id_ in operations]
            latencies: list[float] = []
            cpu = _cpu(service, lambda: latencies.extend(_poll(urls, token, given.seconds)))
            latencies.sort()
            rows.append([f"{given.kernels} kernels poll, % of a core", 100 * cpu / given.seconds])
            rows.append(["CPU of the service for 1,000 polls, s", 1000 * cpu / len(latencies)])
            rows += [[f"poll, p{p}, ms", 1000 * latencies[int(len(latencies) * p / 100)]] for p in (50, 99)]
        finally:
            local.stop(folder)
    show(f"{given.models:,} models, {given.services:,} sleeping services", ["figure", "value"], rows)


def _fill(folder: Path, models: int, services: int, kernels: int) -> list[str]:
    """Insert all rows into a new database; return the ids of the operations."""
    endpoint = local.ensure(folder)
    local.stop(folder)
    fill(folder, f"{endpoint.base_url.rpartition('/')[0]}/{LIBRARY}", models)
    store = Store(Home(folder).database)
    operations = [
        {
            "id": str(uuid.uuid4()), "account": ACCOUNT, "kind": "Service", "resource_id": str(uuid.uuid4()),
            "state": "Running", "attempts": 0, "created_at": dt.datetime.now(dt.UTC),
        }
        for _ in range(kernels)
    ]  # fmt: skip
    with store.writing() as db:
        insert_services(db, ACCOUNT, services, 1)
        db.execute(insert(schema.operations), operations)
    store.close()
    return [str(operation["id"]) for operation in operations]


def _wait_for_ports(folder: Path, services: int) -> int:
    """Wait until all services listen, or no further one does for a while; return their number."""
    store = Store(Home(folder).database)
    until, before = time.monotonic() + OPEN_SECONDS, -1
    try:
        while time.monotonic() < until:
            with store.reading() as db:
                opened = db.scalar(select(func.count()).where(schema.services.c.port.is_not(None))) or 0
            if opened in {services, before}:
                return opened
            before = opened
            time.sleep(5)
    finally:
        store.close()
    return before


def _poll(urls: list[str], token: str, seconds: float) -> list[float]:
    """Return the seconds of each poll of all kernels."""
    until = time.monotonic() + seconds

    def kernel(number: int) -> list[float]:
        taken = []
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            time.sleep(POLL_SECONDS * number / len(urls))
            while time.monotonic() < until:
                began = time.perf_counter()
                session.get(urls[number], timeout=60).raise_for_status()
                taken.append(time.perf_counter() - began)
                time.sleep(POLL_SECONDS)
        return taken

    with ThreadPoolExecutor(len(urls)) as pool:
        return [each for taken in pool.map(kernel, range(len(urls))) for each in taken]


def _median_seconds(action: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return median(taken)


def _cpu(process: psutil.Process, action: Callable[[], object]) -> float:
    before = process.cpu_times()
    action()
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system


if __name__ == "__main__":
    main()
