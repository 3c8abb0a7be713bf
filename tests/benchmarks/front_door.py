"""Measure the cost of the gateway: the same service called at its own port and through the port of the API.

Run it with `python -m tests.benchmarks.front_door`. The figures that hold on a noisy machine are CPU seconds of the
service's whole process tree for 1,000 requests, and their ratios; the two ways alternate in one run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from mlmgmt_nb import connect, local
from tests.benchmarks.scoring_load import Load, run_load
from tests.benchmarks.table import show

ROUNDS = 3
BODIES = {"1 row": b"[[5.1, 3.5, 1.4, 0.2]]", "64 KiB": b'"' + b"x" * 2**16 + b'"', "1 MiB": b'"' + b"x" * 2**20 + b'"'}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each measurement (default: %(default)s)")
    parser.add_argument("--only", choices=BODIES, action="append", help="only this body; repeatable")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder) / "score.py"
        driver.write_text("def init():\n    pass\n\ndef run(body):\n    return 1\n")
        (Path(folder) / "model.bin").write_bytes(b"none")
        endpoint = local.ensure(Path(folder) / "home")
        try:
            workspace = connect(home=Path(folder) / "home")
            service = workspace.deploy("front-door", model=Path(folder) / "model.bin", driver=driver)
            key = workspace.services.keys(service).primary_key
            direct = urlsplit(workspace.services.get("front-door").scoring_uri or "")
            ports = {"own port": direct.port or 0, "front door": urlsplit(endpoint.base_url).port or 0}
            headers = f"Authorization: Bearer {key}\r\n"
            for name in arguments.only or BODIES:
                body = BODIES[name]
                loads: dict[str, list[Load]] = {way: [] for way in ports}
                for _ in range(ROUNDS):
                    for way, port in ports.items():
                        loads[way].append(
                            run_load(endpoint.pid, port, direct.path, body, seconds=seconds, headers=headers)
                        )
                _report(name, loads)
        finally:
            local.stop(Path(folder) / "home")


def _report(name: str, loads: dict[str, list[Load]]) -> None:
    own = median(load.cpu_per_1000 for load in loads["own port"])
    rows = []
    for way, measured in loads.items():
        cpu = median(load.cpu_per_1000 for load in measured)
        failures = sum(load.failures for load in measured)
        figures = [median(values) for values in zip(*[(m.rate, m.p50_ms, m.p99_ms) for m in measured], strict=True)]
        rows.append([way, cpu, cpu / own, *figures, failures])
    show(
        f"{name} (medians of {ROUNDS})",
        ["asked at", "CPU s/1000", "ratio", "requests/s", "p50 ms", "p99 ms", "failed"],
        rows,
    )


if __name__ == "__main__":
    main()
