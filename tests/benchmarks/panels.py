"""Measure panels: their messages to the browser, their cost for the kernel, and their delay.

Run it with `python -m tests.benchmarks.panels`. It needs Chromium. Four tables: a service whose log grows a thousand
times while its panel is watched; panels of 1, 10 and 100 operations that run; the delay until the end of an operation
appears in a real JupyterLab; and the time of the account's panel to its first page with few models and with 100,000.
`tests.benchmarks.scoring_test` has the scoring test of 50,000 requests. Targets: about ten updates per second, however
often something changes; less than 2 % of a core for 100 operations; an end appears within 0.25 s; the first page does
not depend on the number of models.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import delete, insert, select

from mlmgmt_nb import local
from mlmgmt_nb.client import connect
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store
from tests.acceptance.panels.lab import CHROMIUM_ARGUMENTS, Lab
from tests.benchmarks.kernel import cpu_seconds, run_cell
from tests.benchmarks.listing import fill
from tests.benchmarks.service_lists import insert_services
from tests.benchmarks.table import show

UPDATES = 1000
OPERATIONS = 100
SETTLE_SECONDS = 20
REST_SECONDS = 20
ROUNDS = 5
MODELS = 100_000
GROWS = f"""\
import time

def init():
    for number in range({UPDATES}):
        print("line", number, flush=True)
        time.sleep(0.005)

def run(body):
    return 1
"""
PLAIN = "def run(body):\n    return 1\n"
_WHEN_SEEN = """([number, text]) => new Promise(resolve => {
    const cell = window.jupyterapp.shell.currentWidget.content.widgets[number].node;
    const look = () => cell.innerText.includes(text) && (resolve(Date.now()), true);
    if (!look()) new MutationObserver((_, observer) => look() && observer.disconnect())
        .observe(cell, {subtree: true, childList: true, characterData: true, attributes: true});
})"""


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / "home"
        local.ensure(home)
        try:
            _updates(folder, home)
            _many_operations(folder, home)
            environment = {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(folder / "config.toml")}
            lab = Lab(folder, environment)
            try:
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
                    _ends(lab, browser, home)
                    _first_page(lab, browser, home)
                    browser.close()
            finally:
                lab.stop()
        finally:
            local.stop(home)


@contextmanager
def _kernel(folder: Path, home: Path) -> Iterator[tuple[BlockingKernelClient, psutil.Process]]:
    """Start a kernel; yield its client and its process."""
    environment = {**os.environ, "MLMGMT_HOME": str(home), "IPYTHONDIR": str(folder / "ipython")}
    manager = KernelManager()
    manager.start_kernel(env=environment, cwd=str(folder))
    client: BlockingKernelClient = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client, psutil.Process(manager.provisioner.pid)  # type: ignore[union-attr]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _updates(folder: Path, home: Path) -> None:
    (folder / "score.py").write_text(GROWS)
    with _kernel(folder, home) as (client, kernel):
        run_cell(client, "%load_ext mlmgmt_nb\n%mlmgmt image create -n grows -f score.py")
        run_cell(client, "from mlmgmt_nb import connect\nws = connect()\nimage = next(iter(ws.images.list())).id")
        cpu, began = cpu_seconds(kernel), time.perf_counter()
        sent, size = run_cell(client, "%mlmgmt service create -n grows --image-id {image}")
        seconds, cpu = time.perf_counter() - began, cpu_seconds(kernel) - cpu
    with connect(home=home) as ws:
        ws.services.delete("grows")
    messages = sum(sent.values())
    show(
        f"A service whose log grows {UPDATES:,} times while its panel is watched",
        ["figure", "value"],
        [
            ["seconds of the cell", seconds],
            ["messages to the browser", messages],
            ["messages per second", messages / seconds],
            ["updates of the log for each message", UPDATES / messages],
            ["KiB to the browser", size / 1024],
            ["seconds of CPU of the kernel's process", cpu],
            ["its share of the time", cpu / seconds],
        ],
    )


def _many_operations(folder: Path, home: Path) -> None:
    """Measure a kernel at rest that shows the panels of running operations."""
    endpoint = local.ensure(home)
    store = Store(Home(home).database)
    rows = []
    with store.writing() as db:
        insert_services(db, "local/local/many", OPERATIONS, 1)
        services = db.scalars(select(schema.services.c.id).where(schema.services.c.account == "local/local/many"))
        started = {"account": "local/local/many", "kind": "Service", "state": "Running", "attempts": 0}
        operations = [
            {**started, "id": str(uuid.uuid4()), "resource_id": service, "created_at": dt.datetime.now(dt.UTC)}
            for service in services
        ]
        db.execute(insert(schema.operations), operations)
    for count in (1, 10, OPERATIONS):
        with _kernel(folder, home) as (client, kernel):
            run_cell(client, "from mlmgmt_nb import connect\nfrom mlmgmt_nb.notebook.panels import OperationPanel")
            ids = [operation["id"] for operation in operations[-count:]]
            display = f"for id in {ids!r}:\n    OperationPanel(ws.operations.poller(id)).show()"
            run_cell(client, f"ws = connect(account='many')\n{display}")
            time.sleep(SETTLE_SECONDS)
            service = psutil.Process(endpoint.pid)
            before = cpu_seconds(kernel), cpu_seconds(service)
            time.sleep(REST_SECONDS)
            after = cpu_seconds(kernel), cpu_seconds(service)
            rows.append([count, *(100 * (b - a) / REST_SECONDS for a, b in zip(before, after, strict=True))])
    with store.writing() as db:
        db.execute(delete(schema.operations).where(schema.operations.c.account == "local/local/many"))
        db.execute(delete(schema.services).where(schema.services.c.account == "local/local/many"))
    store.close()
    show(
        f"Panels of operations that run, during {REST_SECONDS} s",
        ["operations", "kernel, % of a core", "service, % of a core"],
        rows,
    )


def _ends(lab: Lab, browser: Browser, home: Path) -> None:
    """Measure the delay from the end of an operation, by the clock of the service, until it appears."""
    (lab.work / "plain.py").write_text("import time\ntime.sleep(1)\n" + PLAIN)
    delays = []
    with connect(home=home) as ws:
        create = [f"%mlmgmt service create -n ends-{number} -f plain.py" for number in range(ROUNDS)]
        notebook = lab.open(browser, lab.write("ends", ["%load_ext mlmgmt_nb\n%mlmgmt service list", *create]))
        notebook.run(0)
        for number in range(ROUNDS):
            notebook.run(number + 1, wait=False)
            notebook.wait_to_see(number + 1, "Running")
            seen = float(notebook.page.evaluate(_WHEN_SEEN, [number + 1, "Succeeded"])) / 1000
            notebook.wait_for_end(number + 1)
            service = ws.services.get(f"ends-{number}")
            ended = [
                o.end_time for o in ws.operations.list() if (o.resource_location or "").endswith(service.id or "-")
            ]
            assert isinstance(ended[0], dt.datetime)
            delays.append(seen - ended[0].timestamp())
            ws.services.delete(service)
        notebook.close()
    show(
        f"From the end of an operation at the service to the browser's page ({ROUNDS} rounds)",
        ["figure", "seconds"],
        [["median", median(delays)], ["most", max(delays)]],
    )


def _first_page(lab: Lab, browser: Browser, home: Path) -> None:
    base_url = (local.ensure(home)).base_url.rpartition("/")[0]
    sizes = (100, MODELS)
    rows = []
    for size in sizes:
        account = f"of-{size}"
        fill(home, f"{base_url}/{account}", size)
        cells = [
            f"from mlmgmt_nb import connect\nfrom mlmgmt_nb.notebook.panels import WorkspacePanel\n"
            f"ws = connect(account={account!r})\nWorkspacePanel(ws)"
        ] * ROUNDS
        notebook = lab.open(browser, lab.write(f"first-{size}", [*cells]))
        took = []
        for number in range(ROUNDS):
            began = time.time()
            notebook.run(number, wait=False)
            took.append(float(notebook.page.evaluate(_WHEN_SEEN, [number, "model-"])) / 1000 - began)
            notebook.wait_for_end(number)
        notebook.close()
        rows.append(median(took[1:]))  # the first one imports the shared modules
    show(
        f"The first page of the account's panel (medians of {ROUNDS - 1})",
        ["models", "seconds", "ratio"],
        [[f"{size:,}", seconds, seconds / rows[0]] for size, seconds in zip(sizes, rows, strict=True)],
    )


if __name__ == "__main__":
    main()
