"""Compare the scoring runtime with its peers.

    python -m tests.benchmarks.scoring [--seconds 2] [--rounds 2] [--only NAME ...]

Peers are installed with uv into separate temporary environments; all of them take about a quarter of an hour and 3 GB.
Servers are measured one after the other, in each round. The figures that
hold on a noisy machine are CPU seconds of the server's whole process tree for 1,000 requests, and their ratios.
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
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_server
from statistics import median

import psutil

from tests.benchmarks.scoring_load import Load, Pace, run_load, run_paced, tree_memory
from tests.benchmarks.scoring_peers import KEY, PEERS, REPO, Peer, body_of, prepare
from tests.benchmarks.table import show

START_SECONDS = 60.0
HEADERS = f"Authorization: Bearer {KEY}\r\n"
NO_REPORTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1"}
TASKS = [("echo", 1), ("predict", 1), ("predict", 100)]


def environment(peer: Peer, folder: Path) -> Path:
    """Install a peer; return its Python."""
    place = folder / "environments" / "-".join(sorted(peer.packages)).replace("/", "_")
    python = place / "bin" / "python"
    if not python.exists():
        packages = [*peer.packages, "scikit-learn", "pandas"]
        for command in (
            ["venv", "--python", sys.executable, str(place)],
            ["pip", "install", "--compile-bytecode", "--python", str(python), *packages],
        ):
            subprocess.run(["uv", *command], check=True, capture_output=True)
        if peer.setup:
            command = [part.format(python=python) for part in peer.setup]
            subprocess.run(command, cwd=folder / f"peer-{PEERS.index(peer)}", check=True, capture_output=True)
    return python


@contextlib.contextmanager
def serving(peer: Peer, number: int, kind: str, folder: Path) -> Iterator[tuple[int, int, float]]:
    """Start a peer; return its pid, its port and the seconds until its first answer."""
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    python = environment(peer, folder)
    paths = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPO) if peer.name.startswith("mlmgmt") else "",
    }
    values = {"python": str(python), "folder": str(folder), "kind": kind, "port": str(port)}
    command = [part.format(**values) for part in peer.command]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder / f"peer-{number}",
        env={**os.environ, **NO_REPORTS, **paths},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors.txt").open("wb"),
        start_new_session=True,
    )
    try:
        wait_for_answer(peer, kind, port, process, folder)
        yield process.pid, port, time.perf_counter() - began
    finally:
        end_tree(process)


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a server and all its children: workers may have left its process group."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    with contextlib.suppress(ProcessLookupError):
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


@dataclass
class Result:
    """Figures of one peer, from all rounds: loads and paces by task, MiB and seconds to the first answer by kind."""

    loads: dict[tuple[str, int], list[Load]] = field(default_factory=lambda: defaultdict(list))
    paces: dict[bool, list[Pace]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def measure(peer: Peer, number: int, folder: Path, seconds: float, result: Result) -> None:
    """Measure one round of a peer."""
    for kind in peer.kinds:
        with serving(peer, number, kind, folder) as (pid, port, start):
            result.starts[kind].append(start)
            for task in TASKS:
                if task[0] == kind:
                    load = run_load(pid, port, peer.path, body_of(peer, *task), seconds=seconds, headers=HEADERS)
                    check_all_answered(peer, load.failures, load.requests)
                    result.loads[task].append(load)
            result.memory[kind].append(tree_memory(pid))
            if kind == "predict":
                measure_paces(peer, port, seconds, result)


def measure_paces(peer: Peer, port: int, seconds: float, result: Result) -> None:
    """Measure at half of the highest rate so far, without and with one slow request."""
    rate = max(load.rate for load in result.loads["predict", 1]) / 2
    for slow in (False, True):
        extra = body_of(peer, "predict", 1, slow=True) if slow else None
        body = body_of(peer, "predict", 1)
        pace = run_paced(port, peer.path, body, rate=rate, seconds=2 * seconds, slow=extra, headers=HEADERS)
        check_all_answered(peer, pace.failures, 0)
        result.paces[slow].append(pace)


def check_all_answered(peer: Peer, failures: int, requests: int) -> None:
    if failures:
        raise RuntimeError(f"{peer.name}: {failures} requests failed of {requests}")


COLUMNS = ["task and server", "CPU s/1000", "ratio", "requests/s", "ratio", "p50 ms", "p99 ms", "p99/p50"]
COLUMNS += ["health ms", "MiB", "first answer s"]


def report(results: dict[str, Result]) -> None:
    """Print one table; ratios are to the first server of each task, which is ours."""
    rows: list[tuple[object, ...]] = []
    for task in TASKS:
        rows += load_rows(task, results)
    for slow, title in ((False, "half the peak rate"), (True, "half the peak rate, one request waits 0.1 s")):
        rows.append((f"{title}:", *[""] * (len(COLUMNS) - 1)))
        for name, result in results.items():
            if paces := result.paces.get(slow):
                rate, p50, p99 = (median(getattr(p, key) for p in paces) for key in ("rate", "p50_ms", "p99_ms"))
                health = max(pace.worst_health_ms for pace in paces)
                rows.append((f"  {name}", "", "", rate, "", p50, p99, p99 / p50, health, "", ""))
    show("scoring servers, 8 connections", COLUMNS, rows)


def load_rows(task: tuple[str, int], results: dict[str, Result]) -> list[tuple[object, ...]]:
    kind, count = task
    rows: list[tuple[object, ...]] = [(f"{kind}, {count} row{'s' if count > 1 else ''}:", *[""] * (len(COLUMNS) - 1))]
    first: tuple[float, float] | None = None
    for name, result in results.items():
        if not (loads := result.loads.get(task)):
            continue
        cpu = sum(load.cpu_seconds for load in loads) / sum(load.requests for load in loads) * 1000
        rate, p50, p99 = (median(getattr(load, key) for load in loads) for key in ("rate", "p50_ms", "p99_ms"))
        first = first or (cpu, rate)
        memory, start = (median(figures[kind]) if count == 1 else "" for figures in (result.memory, result.starts))
        rows.append((f"  {name}", cpu, cpu / first[0], rate, rate / first[1], p50, p99, p99 / p50, "", memory, start))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of load for each figure of a round")
    parser.add_argument("--rounds", type=int, default=2, help="number of measurements of each server")
    parser.add_argument("--only", nargs="*", help="names of servers")
    options = parser.parse_args()
    peers = [(number, peer) for number, peer in enumerate(PEERS) if not options.only or peer.name in options.only]
    results = {peer.name: Result() for _, peer in peers}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for _ in range(options.rounds):
            for number, peer in peers:
                print(f"{peer.name} ...", file=sys.stderr)
                measure(peer, number, folder, options.seconds, results[peer.name])
    report(results)


if __name__ == "__main__":
    main()
