"""Measure services that cost nothing: 1,000 that sleep, and 10,000 whose deployment failed.

Run it with `python -m tests.benchmarks.sleeping`. The figures are CPU seconds of the service process: in each second of
rest, as a share of a core, and for one change of any service.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests
from sqlalchemy import func, select, update

from mlmgmt_nb import local
from mlmgmt_nb.contract import API_VERSION
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from tests.benchmarks.service_lists import insert_services
from tests.benchmarks.table import show

ACCOUNT = "local/local/default"
REST_SECONDS = 10
CHANGES = 20
OPEN_SECONDS = 120


def main() -> None:
    rows = [
        ["none", *_measured(0, failed=False)],
        ["1,000 sleep", *_measured(1_000, failed=False)],
        ["10,000 failed", *_measured(10_000, failed=True)],
    ]
    show("Services that do not run", ["services", "start, s", "rest, % of a core", "a change, CPU ms"], rows)


def _measured(count: int, *, failed: bool) -> list[float]:
    """Return the seconds of the start, the share of a core at rest, and the CPU milliseconds of a change."""
    with tempfile.TemporaryDirectory() as folder:
        local.ensure(folder)
        local.stop(folder)
        store = Store(Home(Path(folder)).database)
        if count:
            with store.writing() as db:
                insert_services(db, ACCOUNT, count, 1)
                if failed:
                    db.execute(update(schema.deployments).values(status="Failed"))
                    db.execute(update(schema.services).values(state="Failed"))
        opened = select(func.count()).select_from(schema.services).where(schema.services.c.port.is_not(None))

        def missing() -> int:
            with store.reading() as db:
                return 0 if failed else count - (db.scalar(opened) or 0)

        start = time.monotonic()
        endpoint = local.ensure(folder)
        try:
            while missing() and time.monotonic() - start < OPEN_SECONDS:
                time.sleep(0.1)
            started = time.monotonic() - start
            process = psutil.Process(endpoint.pid)
            _wait_for_rest(process)
            rest = _cpu(process, lambda: time.sleep(REST_SECONDS)) / REST_SECONDS
            url = f"{endpoint.base_url}/services/{_first_service(store)}"
            headers = {"Authorization": f"Bearer {endpoint.token_file.read_text().strip()}"}

            def change() -> None:
                for _ in range(CHANGES):
                    requests.post(
                        f"{url}/regenerateKeys?api-version={API_VERSION}",
                        json={"keyType": "Primary"},
                        headers=headers,
                        timeout=30,
                    )
                    time.sleep(0.05)

            changed = _cpu(process, change) / CHANGES
        finally:
            local.stop(folder)
            store.close()
        return [started, 100 * rest, 1000 * changed]


def _first_service(store: Store) -> str | None:
    with store.reading() as db:
        return db.scalar(select(schema.services.c.id).limit(1))


def _wait_for_rest(process: psutil.Process) -> None:
    """Wait for the check of files after a start, which logs the missing images of the benchmark."""
    while _cpu(process, lambda: time.sleep(1)) > 0.1:
        pass


def _cpu(process: psutil.Process, action: Callable[[], object]) -> float:
    before = process.cpu_times()
    action()
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system


if __name__ == "__main__":
    main()
