"""Measure the latency of a brief driver beside a process that keeps the same core busy, against bare uvicorn.

    python -m tests.benchmarks.busy_core [--seconds 5] [--rounds 3]

The server and the busy process are bound to one core, the callers to another one. Our server is measured with and
without its fast path, which includes loop lending: the ratios show what it costs on a busy core, and what it gains on a
free one. The servers take turns in each round. The target is at most twice the p99 of uvicorn on the busy core.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple
from unittest import mock

from tests.benchmarks.scoring import HEADERS, check_all_answered, serving
from tests.benchmarks.scoring_load import Load, run_load
from tests.benchmarks.scoring_peers import PEERS, body_of, prepare
from tests.benchmarks.table import show

UVICORN = "uvicorn, driver on the loop"
SERVER_CORE, CALLER_CORE = 0, 1
SWITCH = "SCORING_FAST_PATH"
SERVERS = {
    UVICORN: (UVICORN, {}),
    "mlmgmt-nb": ("mlmgmt-nb", {}),
    "mlmgmt-nb, no fast path": ("mlmgmt-nb", {SWITCH: "0"}),
}
COLUMNS = ["server", "p50 ms busy", "p99 ms busy", "ratio", "requests/s busy"]
COLUMNS += ["p99 ms free", "CPU s/1000 free", "ratio"]


class Round(NamedTuple):
    """The loads of one round, on a core of its own and beside the busy process."""

    free: Load
    busy: Load


@contextlib.contextmanager
def bound_to(core: int) -> Iterator[None]:
    """Bind this process, and those that it starts meanwhile, to a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    """Keep the core of the server busy."""
    with bound_to(SERVER_CORE):
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(name: str, folder: Path, seconds: float) -> Round:
    """Measure one round of a server."""
    of_peer, settings = SERVERS[name]
    number, peer = next((number, peer) for number, peer in enumerate(PEERS) if peer.name == of_peer)
    body = body_of(peer, "echo", 1)

    def load(pid: int, port: int) -> Load:
        with bound_to(CALLER_CORE):
            measured = run_load(pid, port, peer.path, body, seconds=seconds, headers=HEADERS)
        check_all_answered(peer, measured.failures, measured.requests)
        return measured

    with contextlib.ExitStack() as stack:
        with bound_to(SERVER_CORE), mock.patch.dict(os.environ, settings):
            pid, port, _ = stack.enter_context(serving(peer, number, "echo", folder))
        free = load(pid, port)
        with busy_process():
            return Round(free, load(pid, port))


def report(rounds: dict[str, list[Round]]) -> None:
    """Print a table of medians; ratios are to uvicorn."""
    rows = []
    of_uvicorn: tuple[float, float] | None = None
    for name, measured in rounds.items():
        p50, p99, rate = (median(getattr(r.busy, key) for r in measured) for key in ("p50_ms", "p99_ms", "rate"))
        free, cpu = (median(getattr(r.free, key) for r in measured) for key in ("p99_ms", "cpu_per_1000"))
        of_uvicorn = of_uvicorn or (p99, cpu)
        rows.append((name, p50, p99, p99 / of_uvicorn[0], rate, free, cpu, cpu / of_uvicorn[1]))
    show("a brief driver, 8 connections, beside a busy process on its core and on a free one", COLUMNS, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each load (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server (default: %(default)s)")
    options = parser.parse_args()
    if not {SERVER_CORE, CALLER_CORE} <= os.sched_getaffinity(0):
        parser.error("it needs two cores")
    rounds: dict[str, list[Round]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for number in range(options.rounds):
            for name in SERVERS:
                print(f"round {number + 1}: {name} ...", file=sys.stderr)
                rounds[name].append(measure(name, folder, options.seconds))
    report(rounds)


if __name__ == "__main__":
    main()
