"""Measure one page of 1,000 services, and 100,000 deployments, beside the pages of models of the same size.

Run it with `python -m tests.benchmarks.service_lists`. The figures that hold on a noisy machine are CPU seconds of the
service, and their ratios to a page of 1,000 models, whose documents are stored as they are sent.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import requests
from sqlalchemy import Connection, insert

from mlmgmt_nb import local
from mlmgmt_nb.contract import API_VERSION, Asset, Manifest, Model, TargetRuntime
from mlmgmt_nb.contract.extensions import ServiceCreate
from tests.benchmarks.table import show

ROUNDS = 7
REQUESTS = 10
"""Requests for a page in each round: the CPU time of a process counts in steps of 10 ms."""
SERVICES = 1_000
DEPLOYMENTS = 100_000
MIB = 2**20
NOW = dt.datetime.now(dt.UTC)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        endpoint = local.ensure(folder)
        try:
            fill(Path(folder), endpoint.base_url)
            session = requests.Session()
            session.headers["Authorization"] = f"Bearer {endpoint.token_file.read_text().strip()}"
            process = psutil.Process(endpoint.pid)
            before = process.memory_info().rss
            page = f"&count={SERVICES}"
            figures = {
                f"models, a page of {SERVICES:,}": _measured(session, process, f"{endpoint.base_url}/models", page),
                f"services, a page of {SERVICES:,}": _measured(session, process, f"{endpoint.base_url}/services", page),
                f"deployments, {DEPLOYMENTS:,}": _measured(session, process, f"{endpoint.base_url}/deployments", ""),
            }
            growth = (process.memory_info().rss - before) / MIB
        finally:
            local.stop(folder)
    base = next(iter(figures.values()))
    base_per_row = base[0] / base[1]
    rows = [[name, 1000 * cpu, cpu / count / base_per_row, size / MIB] for name, (cpu, count, size) in figures.items()]
    rows.append(["memory of the service, growth in MiB", growth, "", ""])
    show(
        f"Lists (the least of {ROUNDS})",
        ["list", "CPU ms", "per row / per row of models", "MiB"],
        rows,
    )


def _measured(session: requests.Session, process: psutil.Process, url: str, page: str) -> tuple[float, int, int]:
    """Return the CPU seconds of a request, the number of rows, and the size of the response."""
    taken = []
    requests_each = REQUESTS if page else 1
    for _ in range(ROUNDS):
        start = process.cpu_times()
        for _ in range(requests_each):
            content = session.get(f"{url}?api-version={API_VERSION}{page}", timeout=120).content
        end = process.cpu_times()
        taken.append((end.user + end.system - start.user - start.system) / requests_each)
    found = msgspec.json.decode(content)
    return max(min(taken), 0.001), len(found if isinstance(found, list) else found["value"]), len(content)


def fill(home: Path, base_url: str) -> None:
    """Insert the rows that the API would write, each service with its own image, manifest and model."""
    from mlmgmt_nb.service.files.home import Home
    from mlmgmt_nb.service.store.store import Store

    parts = urlsplit(base_url).path.split("/")
    store = Store(Home(home).database)
    with store.writing() as db:
        insert_services(db, f"{parts[3]}/{parts[5]}/{parts[7]}", SERVICES, DEPLOYMENTS // SERVICES)
    store.close()


def insert_services(db: Connection, account: str, count: int, deployments_each: int) -> None:
    """Insert services that sleep, of distinct images, with an operation for each deployment."""
    from mlmgmt_nb.service.store import schema

    rows = [_rows(account, index, deployments_each) for index in range(count)]
    for name in ("models", "manifests", "manifest_models", "images", "deployments", "services", "operations"):
        table = schema.metadata.tables[name]
        db.execute(insert(table), [row for each in rows for row in each[name]])


def _rows(account: str, index: int, deployments_each: int) -> dict[str, list[dict[str, Any]]]:
    ids = {kind: str(uuid.uuid4()) for kind in ("model", "manifest", "image", "service")}
    name = f"service-{index}"
    model = Model(
        id=ids["model"], name=f"model-{index}", version=1, created_at=NOW, mime_type="application/octet-stream",
        url=f"https://storage.example.org/models/{index}/model.pkl", tags=["benchmark"], description="A model",
    )  # fmt: skip
    manifest = Manifest(
        id=ids["manifest"], name=f"manifest-{index}", version=1, created_time=NOW, driver_program="driver",
        assets=[Asset(id="driver", url="https://storage.example.org/score.py", mime_type="text/x-python")],
        model_ids=[ids["model"]], model_type="Registered", webservice_type="Realtime",
        target_runtime=TargetRuntime(runtime_type="Python", properties={}),
    )  # fmt: skip
    spec = msgspec.convert(
        {
            "name": name,
            "imageId": ids["image"],
            "computeResource": {"id": "local", "type": "Cluster"},
            "autoScaler": {"autoscaleEnabled": True, "minReplicas": 0, "maxReplicas": 2},
            "environment": {"STAGE": "benchmark"},
        },
        ServiceCreate,
    )
    versioned = {"account": account, "version": 1}
    deployments = [
        {
            "id": str(uuid.uuid4()), "account": account, "service_id": ids["service"], "service_name": name,
            "image_id": ids["image"], "spec": spec, "status": "Expired", "created_at": NOW, "expired_at": NOW,
        }
        for _ in range(deployments_each)
    ]  # fmt: skip
    deployments[-1] |= {"status": "Active", "expired_at": None}
    operations = [
        {
            "id": str(uuid.uuid4()), "account": account, "kind": "Service", "resource_id": ids["service"],
            "state": "Succeeded", "created_at": NOW, "end_time": NOW,
        }
        for _ in deployments
    ]  # fmt: skip
    return {
        "models": [versioned | {"id": model.id, "name": model.name, "doc": msgspec.json.encode(model)}],
        "manifests": [versioned | {"id": manifest.id, "name": manifest.name, "doc": msgspec.json.encode(manifest)}],
        "manifest_models": [{"manifest_id": manifest.id, "model_id": model.id, "position": 0}],
        "images": [
            versioned
            | {
                "id": ids["image"], "name": f"image-{index}", "manifest_id": manifest.id, "compute_id": "local",
                "state": "Succeeded", "location": f"file:///images/{ids['image']}", "created_at": NOW,
            }
        ],
        "deployments": deployments,
        "operations": operations,
        "services": [
            {
                "id": ids["service"], "account": account, "name": name, "compute_id": "local", "state": "Succeeded",
                "deployment_id": deployments[-1]["id"], "scale": 0, "primary_key": "a", "secondary_key": "b",
                "created_at": NOW, "updated_at": NOW,
            }
        ],
    }  # fmt: skip


if __name__ == "__main__":
    main()
