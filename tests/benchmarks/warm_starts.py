"""Measure what a warm start saves: a fitted model is deployed with prepared processes, and without.

Run it with `python -m tests.benchmarks.warm_starts`. While the package is verified in the notebook, a process of the
service imports the packages of its driver and then becomes the replica. Both ways alternate in one run: the ratios
count, not the seconds.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from mlmgmt_nb import connect, local
from tests.benchmarks.table import show

ROUNDS = 3
WAYS = {"without": "0", "prepared": "600"}


def main() -> None:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    rows, answers = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(max_iter=1000).fit(rows, answers)
    measured: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way, seconds in WAYS.items():
            os.environ["MLMGMT_WARM_START_SECONDS"] = seconds
            with tempfile.TemporaryDirectory() as folder:
                try:
                    measured[way].append(_deployed(Path(folder) / "home", model, rows.head(3)))
                finally:
                    local.stop(Path(folder) / "home")
    least = {way: [min(column) for column in zip(*figures, strict=True)] for way, figures in measured.items()}
    without = least["without"]
    show(
        f"start of the replica of a fitted model (the least of {ROUNDS})",
        ["", "step `service`, s", "load of the driver, s", "ratio of the step", "ratio of the load"],
        [[way, *each, each[0] / without[0], each[1] / without[1]] for way, each in least.items()],
    )


def _deployed(home: Path, model: Any, sample: Any) -> tuple[float, float]:
    """Return the seconds from the image to the running service, and those that its driver took to load."""
    taken: dict[str, float] = {}
    with connect(home=home) as workspace:
        service = workspace.deploy("fitted", model=model, sample=sample, on_step=taken.__setitem__)
        found = re.search(r"is ready \(([\d.]+) s\)", workspace.services.logs(service).text)
    assert found is not None
    return taken["service"], float(found[1])


if __name__ == "__main__":
    main()
