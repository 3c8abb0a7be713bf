"""Runs faults in random order, for as long as wanted: `python -m tests.faults --minutes 10`.

The first thing that is not as it should be ends it, with its traceback, and with the seed that brings it back.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.benchmarks.table import show
from tests.faults.faults import FAULTS
from tests.faults.scene import Scene


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults in random order.")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="repeats a run")
    parser.add_argument("--only", choices=FAULTS, action="append", help="this fault only; may be given again")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # its services end with it
    print(f"seed {arguments.seed}", flush=True)
    moments = random.Random(arguments.seed)
    names, taken = arguments.only or list(FAULTS), defaultdict[str, list[float]](list)
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        until = time.monotonic() + arguments.minutes * 60
        try:
            while names and (not taken or time.monotonic() < until):
                name = moments.choice(names)
                print(name, flush=True)
                began = time.monotonic()
                try:
                    FAULTS[name](scene, moments)
                except pytest.skip.Exception as skipped:  # something that it needs is not installed
                    print(f"  skipped: {skipped}", flush=True)
                    names.remove(name)
                    continue
                scene.is_well()
                taken[name].append(time.monotonic() - began)
        finally:
            scene.close()
    rows = [[name, len(seconds), sum(seconds) / len(seconds)] for name, seconds in sorted(taken.items())]
    show(f"Faults of seed {arguments.seed}, all with the outcome that was expected", ["fault", "times", "s each"], rows)


if __name__ == "__main__":
    main()
