"""Measure time and memory of listing 10,000, 50,000 and 100,000 models into a DataFrame.

Run it with `python -m tests.benchmarks.listing`. For comparison, it also fetches the same pages as records
(`list(ws.models.list())`) and as bytes, and decodes the bytes alone. Targets: the frame takes at most twice as long as
the records, its time is linear in the rows, and its memory is bounded by the frame.
"""

from __future__ import annotations

import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import requests
from sqlalchemy import insert

from mlmgmt_nb import local
from mlmgmt_nb.client import connect
from mlmgmt_nb.contract import API_VERSION, Model
from mlmgmt_nb.contract.resources import PaginatedModelList
from tests.benchmarks.table import show

SIZES = (10_000, 50_000, 100_000)
ROUNDS = 3
MIB = 2**20
_BATCH = 50_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        endpoint = local.ensure(folder)
        try:
            rows = []
            for size in SIZES:
                base_url = f"{endpoint.base_url.rpartition('/')[0]}/of-{size}"
                fill(Path(folder), base_url, size)
                rows.append(_measured(base_url, endpoint.token_file, size))
        finally:
            local.stop(folder)
    per_row = [row["frame"] / size for row, size in zip(rows, SIZES, strict=True)]
    figures = {
        "frame, s": [row["frame"] for row in rows],
        "records, s": [row["records"] for row in rows],
        "pages as bytes, s": [row["bytes"] for row in rows],
        "decoding alone, s": [row["decoding"] for row in rows],
        "json.loads alone, s": [row["json"] for row in rows],
        "frame / records": [row["frame"] / row["records"] for row in rows],
        "(frame - bytes) / decoding alone": [(row["frame"] - row["bytes"]) / row["decoding"] for row in rows],
        f"time per row / that at {SIZES[0]:,}": [each / per_row[0] for each in per_row],
        "frame, MiB": [row["frame_bytes"] / MIB for row in rows],
        "growth of the process, MiB": [row["peak_bytes"] / MIB for row in rows],
        "growth / frame": [row["peak_bytes"] / row["frame_bytes"] for row in rows],
    }
    show(
        f"Listing models into a DataFrame (medians of {ROUNDS})",
        ["models", *[f"{size:,}" for size in SIZES]],
        [[name, *values] for name, values in figures.items()],
    )


def fill(home: Path, base_url: str, size: int) -> None:
    """Insert the rows that the API would write for models; registering them would take minutes."""
    from mlmgmt_nb.service.files.home import Home
    from mlmgmt_nb.service.store import schema
    from mlmgmt_nb.service.store.store import Store

    parts = urlsplit(base_url).path.split("/")
    account = f"{parts[3]}/{parts[5]}/{parts[7]}"
    store = Store(Home(home).database)
    with store.writing() as db:
        for begin in range(0, size, _BATCH):
            rows = [_row(account, index) for index in range(begin, min(begin + _BATCH, size))]
            db.execute(insert(schema.models), rows)
    store.close()


def _row(account: str, index: int) -> dict[str, Any]:
    model = Model(
        id=str(uuid.uuid4()),
        name=f"model-{index}",
        version=1,
        created_at=dt.datetime.now(dt.UTC),
        description="A model of the benchmark" if index % 2 else None,
        tags=["benchmark", f"group-{index % 10}"],
        unpack=False,
        mime_type="application/octet-stream",
        url=f"https://storage.example.org/models/{index}/model.pkl",
    )
    doc = msgspec.json.encode(model)
    return {"id": model.id, "account": account, "name": model.name, "version": 1, "doc": doc}


def _measured(base_url: str, token_file: Path, size: int) -> dict[str, float]:
    """Return the figures of one size, from a separate process, whose peak memory then belongs to this size."""
    command = [sys.executable, "-m", "tests.benchmarks.listing", base_url, str(token_file), str(size)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return msgspec.json.decode(answer.stdout, type=dict[str, float])


def _measure(base_url: str, token: str, size: int) -> dict[str, float]:
    import pandas as pd

    workspace = connect(base_url=base_url, token=token)
    workspace.models.list(name="model-0").to_frame()  # load lazy imports now
    before = psutil.Process().memory_info().rss
    frame = workspace.models.list().to_frame()
    figures = {
        "frame_bytes": float(frame.memory_usage(deep=True).sum()),
        "peak_bytes": float(_peak_bytes() - before),
    }
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == size
    del frame
    pages = list(_pages(base_url, token))
    figures["bytes"] = _seconds(lambda: list(_pages(base_url, token)))
    figures["frame"] = _seconds(lambda: workspace.models.list().to_frame())
    figures["records"] = _seconds(lambda: list(workspace.models.list()))
    figures["decoding"] = _seconds(lambda: [msgspec.json.decode(page, type=PaginatedModelList).value for page in pages])
    figures["json"] = _seconds(lambda: [json.loads(page)["value"] for page in pages])
    return figures


def _pages(base_url: str, token: str) -> Iterator[bytes]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        url: Any = f"{base_url}/models?api-version={API_VERSION}&count=1000"
        while url is not msgspec.UNSET:
            page = session.get(url, timeout=60).content
            yield page
            url = msgspec.json.decode(page, type=PaginatedModelList).next_link


def _seconds(action: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return median(taken)


def _peak_bytes() -> int:
    """Return the peak memory of this process. On Linux, `ru_maxrss` would include that of the parent."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_measure(sys.argv[1], Path(sys.argv[2]).read_text().strip(), int(sys.argv[3]))))
    else:
        main()
