"""Measure the upload of a large model beside a copy of the file that is hashed and written to disk.

Run it with `python -m tests.benchmarks.upload`. The figures that hold on a noisy machine are the CPU seconds for each
GiB of client and service. The copy is read, hashed (SHA-256), written and synchronized in one thread. Before each, the
disk has written all that was written earlier, which would otherwise take the time of what is measured next.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from pathlib import Path

import psutil

from mlmgmt_nb import connect, local
from tests.benchmarks.table import show

ROUNDS = 3
GIB = 2**30
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=1.0, help="size of the file in GiB (default: %(default)s)")
    gib = parser.parse_args().gib
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.bin"
        endpoint = local.ensure(Path(folder) / "home")
        try:
            workspace = connect(home=Path(folder) / "home")
            service, client = psutil.Process(endpoint.pid), psutil.Process()
            copies, uploads = [], []
            before = service.memory_info().rss
            for number in range(ROUNDS):
                _write(model, int(gib * GIB), number)
                copies.append(_measured(lambda: _copy(model, model.with_suffix(".copy")), client))
                uploads.append(_measured(lambda: workspace.models.register(model, name="large"), client, service))
            growth = (service.memory_info().rss - before) / MIB
        finally:
            local.stop(Path(folder) / "home")
    copy, upload = min(copies), min(uploads)
    cpu = [min(values) / gib for values in zip(*[each[1:] for each in uploads], strict=True)]
    show(
        f"{gib:g} GiB (the least of {ROUNDS})",
        ["", "MiB/s", "client, CPU s/GiB", "service, CPU s/GiB", "MiB/s / copy"],
        [
            ["copy, hashed", gib * 1024 / copy[0], min(each[1] for each in copies) / gib, "", 1],
            ["upload", gib * 1024 / upload[0], *cpu, copy[0] / upload[0]],
            ["memory of the service, growth in MiB", growth, "", "", ""],
        ],
    )


def _write(path: Path, size: int, number: int) -> None:
    """Write content that no earlier round had."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        file.write(number.to_bytes(8, "big"))
        while file.tell() < size:
            file.write(block)


def _copy(source: Path, target: Path) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as file, target.open("wb") as copy:
        while chunk := file.read(MIB):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())


def _measured(action: object, *processes: psutil.Process) -> list[float]:
    """Return the seconds of an action, and the CPU seconds of each process."""
    assert callable(action)
    os.sync()
    before = [process.cpu_times() for process in processes]
    start = time.perf_counter()
    action()
    seconds = time.perf_counter() - start
    after = [process.cpu_times() for process in processes]
    return [seconds, *[a.user + a.system - b.user - b.system for a, b in zip(after, before, strict=True)]]


if __name__ == "__main__":
    main()
