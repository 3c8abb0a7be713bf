"""Compare registering models one after another, each durable before the answer, with a bare insert.

Run it with `python -m tests.benchmarks.register`. The bare server answers a POST with nothing but one insert into
SQLite under the same durability (WAL, full synchronization), under the same HTTP server with the same settings; both
get the same body over one kept connection. Target: at most twice the bare insert.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import requests
import uvicorn

from mlmgmt_nb import local
from mlmgmt_nb.client import connect
from mlmgmt_nb.contract import API_VERSION
from tests.benchmarks.table import show

REQUESTS = 500
URL = "https://storage.example.org/model.pkl"
BODY = {"name": "benchmark", "mimeType": "text/plain", "url": URL, "tags": ["benchmark"]}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with _bare_server(Path(folder)) as url:
            bare = _latencies(url, {})
        endpoint = local.ensure(Path(folder) / "home")
        try:
            token = endpoint.token_file.read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            service = _latencies(f"{endpoint.base_url}/models?api-version={API_VERSION}", headers)
            with connect(base_url=endpoint.base_url, token=token) as workspace:
                client = [
                    _timed(lambda: workspace.models.register(URL, name="benchmark", tags=["benchmark"]))
                    for _ in range(REQUESTS)
                ]
        finally:
            local.stop(endpoint.home)
    columns = ["", "p50 ms", "p90 ms", "requests/s", "p50 against bare"]
    named = [("bare insert", bare), ("the service", service), ("the service, by ws.models.register", client)]
    show(
        f"Registering {REQUESTS} models, one after another",
        columns,
        [
            [
                name,
                1e3 * median(taken),
                1e3 * quantiles(taken, n=10)[-1],
                len(taken) / sum(taken),
                median(taken) / median(bare),
            ]
            for name, taken in named
        ],
    )


def _latencies(url: str, headers: dict[str, str]) -> list[float]:
    """Return the seconds of each request, after some that warm the server up."""
    with requests.Session() as session:
        session.headers.update(headers)

        def send() -> None:
            session.post(url, json=BODY, timeout=30).raise_for_status()

        for _ in range(20):
            send()
        return [_timed(send) for _ in range(REQUESTS)]


def _timed(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


@contextmanager
def _bare_server(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.register", str(listening.fileno()), str(folder / "bare.db")],
            pass_fds=[listening.fileno()],
        ) as server:
            try:
                yield f"http://127.0.0.1:{port}/"
            finally:
                server.terminate()


def _serve_bare(descriptor: int, database: str) -> None:
    db = sqlite3.connect(database, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE models (seq INTEGER PRIMARY KEY AUTOINCREMENT, doc BLOB NOT NULL)")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        doc = (await receive())["body"]
        db.execute("INSERT INTO models (doc) VALUES (?)", (doc,))
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(doc)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": doc})

    config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning", http="httptools", loop="uvloop")
    asyncio.run(uvicorn.Server(config).serve(sockets=[socket.socket(fileno=descriptor)]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve_bare(int(sys.argv[1]), sys.argv[2])
    else:
        main()
