"""Compares the scoring runtime with its peers: one command, one table.

    python tests/benchmarks/scoring.py [--seconds 3] [--only NAME ...]

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
from pathlib import Path
from socket import create_server

sys.path.insert(0, str(Path(__file__).parent))

from scoring_load import Load, run_load, tree_memory
from scoring_peers import KEY, PEERS, REPO, Peer, body_of, prepare

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


def measure(peer: Peer, number: int, folder: Path, seconds: float) -> list[str]:
    """The cells of a row of the table."""
    loads: dict[tuple[str, int], Load] = {}
    starts, memory = {}, {}
    for kind in peer.kinds:
        with serving(peer, number, kind, folder) as (pid, port, start):
            starts[kind] = start
            for task in TASKS:
                if task[0] == kind:
                    body = body_of(peer, *task)
                    loads[task] = run_load(pid, port, peer.path, body, seconds=seconds, headers=HEADERS)
            memory[kind] = tree_memory(pid)
    cells = []
    for task in TASKS:
        load = loads.get(task)
        cells += (
            [f"{load.cpu_per_1000:.3f}", f"{load.rate:.0f}", f"{load.p50_ms:.2f}/{load.p99_ms:.2f}"]
            if load
            else [""] * 3
        )
        if load and load.failures:
            cells[-1] += f" ({load.failures} failed)"
    kind = peer.kinds[-1]
    return [*cells, f"{memory[kind]:.0f}", f"{starts[kind]:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each figure")
    parser.add_argument("--only", nargs="*", help="names of peers")
    options = parser.parse_args()
    titles = [f"{kind}, {rows} row{'s' if rows > 1 else ''}" for kind, rows in TASKS]
    header = [
        "server",
        *[f"{title}: {what}" for title in titles for what in ("CPU s/1000", "requests/s", "p50/p99 ms")],
    ]
    print("|", " | ".join([*header, "MiB", "cold start s"]), "|")
    print("|---" * (len(header) + 2) + "|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for number, peer in enumerate(PEERS):
            if not options.only or peer.name in options.only:
                print("|", " | ".join([peer.name, *measure(peer, number, folder, options.seconds)]), "|", flush=True)


if __name__ == "__main__":
    main()
