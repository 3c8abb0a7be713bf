"""Measure the cost of recording requests: CPU of a replica, without and with it, at full sampling of brief calls.

Run it with `python -m tests.benchmarks.recording`. All replicas stay started, and the rounds alternate between them.
The figures that hold on a noisy machine are CPU seconds for 1,000 requests, and their ratios within a round. Target: at
most 1.03 without redaction. Recorded requests are written to a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from statistics import median

from tests.benchmarks.scoring_load import Load, run_load
from tests.benchmarks.table import show

BODY = b'{"rows": [{"age": 41, "name": "Ada", "income": 5200.5, "city": "Graz"}]}'
DRIVER = "def init():\n    pass\n\n\ndef run(body):\n    return [0.5]\n"
TARGET = 1.03
KINDS: dict[str, dict[str, object] | None] = {
    "without": None,
    "recorded": {"deploymentId": "0" * 36},
    "a tenth": {"deploymentId": "0" * 36, "sample": 0.1},
    "redacted": {"deploymentId": "0" * 36, "redact": ["name"]},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default: %(default)s)")
    arguments = parser.parse_args()
    loads: dict[str, list[Load]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as stack:
        app = Path(top) / "app"
        app.mkdir()
        (app / "score.py").write_text(DRIVER)
        replicas = {kind: stack.enter_context(_replica(app, Path(top) / kind, kind)) for kind in KINDS}
        for number in range(arguments.rounds):
            order = list(replicas.items())
            for kind, (pid, port) in order if number % 2 else reversed(order):
                loads[kind].append(run_load(pid, port, "/score", BODY, seconds=arguments.seconds))
    rows = []
    for kind, measured in loads.items():
        ratios = [one.cpu_per_1000 / bare.cpu_per_1000 for one, bare in zip(measured, loads["without"], strict=True)]
        figures = [median(getattr(load, name) for load in measured) for name in ("cpu_per_1000", "rate", "p99_ms")]
        rows.append([kind, figures[0], f"{median(ratios):.3f}", *figures[1:], sum(load.failures for load in measured)])
    columns = ["", "CPU s/1000", f"ratio (target {TARGET})", "requests/s", "p99 ms", "failed"]
    show(f"Recording (medians of {arguments.rounds} rounds)", columns, rows)


@contextlib.contextmanager
def _replica(app: Path, folder: Path, kind: str) -> Iterator[tuple[int, int]]:
    folder.mkdir()
    settings = KINDS[kind]
    recording = {"SCORING_RECORDING": json.dumps(settings), "SCORING_RECORDING_FOLDER": str(folder)}
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlmgmt_nb.scoring", "--app", str(app), "--port", str(port), "--no-request-log"],
        env={**os.environ, **(recording if settings else {})},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(port, process)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.perf_counter() + 30
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
            return
        time.sleep(0.02)
    raise RuntimeError("the replica does not answer")


if __name__ == "__main__":
    main()
