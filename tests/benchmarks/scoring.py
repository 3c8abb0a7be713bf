"""Compares the scoring runtime with its peers.

    python -m tests.benchmarks.scoring [--seconds 3] [--only NAME ...]

Peers are installed with uv into environments of their own, which are thrown away. The figures that hold on a noisy
machine are CPU seconds of the server's whole process tree for 1,000 requests, and their ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import create_server

from tests.benchmarks.scoring_load import Load, run_load, tree_memory
from tests.benchmarks.scoring_peers import KEY, PEERS, REPO, Peer, body_of, prepare
from tests.benchmarks.table import show

START_SECONDS = 60.0
HEADERS = f"Authorization: Bearer {KEY}\r\n"
TASKS = [("echo", 1), ("predict", 1), ("predict", 100)]


def environment(peer: Peer, folder: Path) -> Path:
    """Installs a peer; its Python."""
    place = folder / "environments" / "-".join(sorted(peer.packages)).replace("/", "_")
    python = place / "bin" / "python"
    if not python.exists():
        packages = [*peer.packages, "scikit-learn", "pandas"]
        for command in (
            ["venv", "--python", sys.executable, str(place)],
            ["pip", "install", "--compile-bytecode", "--python", str(python), *packages],
        ):
            subprocess.run(["uv", *command], check=True, capture_output=True)
    return python


@contextlib.contextmanager
def serving(peer: Peer, number: int, kind: str, folder: Path) -> Iterator[tuple[int, int, float]]:
    """Starts a peer; its pid, its port and the seconds until its first answer."""
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = {"python": str(environment(peer, folder)), "folder": str(folder), "kind": kind, "port": str(port)}
    command = [part.format(**values) for part in peer.command]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder / f"peer-{number}",
        env={**os.environ, "PYTHONPATH": str(REPO) if peer.name.startswith("mlmgmt") else ""},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors.txt").open("wb"),
        start_new_session=True,
    )
    try:
        wait_for_answer(peer, kind, port, process, folder)
        yield process.pid, port, time.perf_counter() - began
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_answer(peer: Peer, kind: str, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    url = f"http://127.0.0.1:{port}{peer.path}"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    deadline = time.perf_counter() + START_SECONDS
    while time.perf_counter() < deadline and process.poll() is None:
        try:
            request = urllib.request.Request(url, body_of(peer, kind, 1), headers)
            urllib.request.urlopen(request, timeout=10).read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"{peer.name} does not answer:\n{(folder / 'errors.txt').read_text()[-2000:]}")


@dataclass(frozen=True)
class Result:
    """Figures of one peer: loads by task, MiB and seconds to the first answer by kind of driver."""

    loads: dict[tuple[str, int], Load]
    memory: dict[str, float]
    starts: dict[str, float]


def measure(peer: Peer, number: int, folder: Path, seconds: float) -> Result:
    result = Result({}, {}, {})
    for kind in peer.kinds:
        with serving(peer, number, kind, folder) as (pid, port, start):
            result.starts[kind] = start
            for task in TASKS:
                if task[0] == kind:
                    body = body_of(peer, *task)
                    load = run_load(pid, port, peer.path, body, seconds=seconds, headers=HEADERS)
                    if load.failures:
                        raise RuntimeError(f"{peer.name}, {kind}: {load.failures} of {load.requests} requests failed")
                    result.loads[task] = load
            result.memory[kind] = tree_memory(pid)
    return result


def report(results: dict[str, Result]) -> None:
    """A table for each task; ratios are to the first server of it."""
    columns = ["server", "CPU s/1000", "ratio", "requests/s", "ratio", "p50 ms", "p99 ms"]
    for task in TASKS:
        loads = {name: result.loads[task] for name, result in results.items() if task in result.loads}
        if not loads:
            continue
        first = next(iter(loads.values()))
        rows = [
            (name, load.cpu_per_1000, load.cpu_per_1000 / first.cpu_per_1000, load.rate, load.rate / first.rate,
             load.p50_ms, load.p99_ms)
            for name, load in loads.items()
        ]  # fmt: skip
        show(f"{task[0]}, {task[1]} row{'s' if task[1] > 1 else ''}, 8 connections", columns, rows)
    kinds = ("echo", "predict")
    rows_of_starts = [
        (name, *[figures.get(kind, "") for figures in (result.memory, result.starts) for kind in kinds])
        for name, result in results.items()
    ]
    columns = ["server", "MiB, echo", "MiB, predict", "first answer s, echo", "first answer s, predict"]
    show("memory and cold start", columns, rows_of_starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each figure")
    parser.add_argument("--only", nargs="*", help="names of peers")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for number, peer in enumerate(PEERS):
            if not options.only or peer.name in options.only:
                results[peer.name] = measure(peer, number, folder, options.seconds)
    report(results)


if __name__ == "__main__":
    main()
