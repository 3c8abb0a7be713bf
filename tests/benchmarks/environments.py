"""Measure images with requirements: with a new environment, and with one that is known, beside `uv pip install`.

Run it with `python -m tests.benchmarks.environments`. It downloads packages: each round and each way begins with an
empty cache of uv. Targets: a new environment takes at most 1.1 times as long as `uv pip install` of the same packages,
and a known one less than a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from uv import find_uv_bin

from mlmgmt_nb import connect, local
from mlmgmt_nb.client import Application
from mlmgmt_nb.scoring.distribution import pinned_packages
from tests.benchmarks.table import show

ROUNDS = 2
REQUIREMENTS = ["numpy==2.0.2", "requests==2.32.3"]


def main() -> None:
    measured: dict[str, list[float]] = {"uv pip install": [], "image, new environment": [], "image, known": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            bare, new, known = measured.values()
            bare.append(_seconds(lambda path=Path(folder): _install(path)))  # type: ignore[misc]
            both = _images(Path(folder))
            new.append(both[0])
            known.append(both[1])
    least = {way: min(seconds) for way, seconds in measured.items()}
    first = least["uv pip install"]
    show(
        f"an environment with {', '.join(REQUIREMENTS)} (the least of {ROUNDS})",
        ["", "seconds", "ratio"],
        [[way, seconds, seconds / first] for way, seconds in least.items()],
    )


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _install(folder: Path) -> None:
    """Create an environment with the requirements and the packages of the runtime, as images have them."""
    environment = {**os.environ, "UV_CACHE_DIR": str(folder / "cache of uv")}
    python = folder / "bare" / "bin" / "python"
    for command in (
        ["venv", "--quiet", "--python", sys.executable, str(folder / "bare")],
        ["pip", "install", "--quiet", "--python", str(python), "--compile-bytecode", *REQUIREMENTS, *pinned_packages()],
    ):
        subprocess.run([find_uv_bin(), *command], env=environment, check=True)


def _images(folder: Path) -> tuple[float, float]:
    """Return the seconds of the first image with the requirements, and of another one."""
    os.environ["UV_CACHE_DIR"] = str(folder / "cache of the service")
    driver, seconds = folder / "score.py", []
    try:
        with connect(home=folder / "home") as workspace:
            for text in ("first", "second"):
                driver.write_text(f"def run(body):\n    return {text!r}\n")
                manifest = workspace.manifests.create(text, Application(driver=driver, requirements=REQUIREMENTS))
                seconds.append(_seconds(workspace.images.create(text, manifest).result))
    finally:
        local.stop(folder / "home")
    return seconds[0], seconds[1]


if __name__ == "__main__":
    main()
