"""Measure the time from `ws.deploy` to the first scored answer of a service on a cluster, and that of a code change.

Run it as root with `python -m tests.benchmarks.kubernetes`: it starts the cluster of the tests. The cluster is warm and
the environment is known: a service with the same requirements was deployed before, so the nodes have its layers. Each
round deploys another service, and then another driver for it. Targets: 10 s to the first answer, and 2 s for the image
of a code change, built and pushed.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from mlmgmt_nb import Workspace, connect, local

ROUNDS = 5
"""The least of them counts: other programs only add time."""
TARGETS = {"first answer": 10.0, "image of a code change": 2.0}
DRIVER = "def init():\n    pass\n\ndef run(body):\n    return [{word!r}, body]\n"
Steps = dict[str, float]


def main() -> None:
    from tests.benchmarks.table import show
    from tests.support.engine import write_base
    from tests.support.kubernetes import ClusterProcess

    with (
        tempfile.TemporaryDirectory(prefix="kc", dir="/tmp") as folder,
        ClusterProcess(Path(folder) / "c") as cluster,
    ):
        home, base = Path(folder) / "home", Path(folder) / "base"
        home.mkdir(mode=0o700)
        base.mkdir()
        write_base(base)
        (home / "clusters.toml").write_text(cluster.settings("default"))
        os.environ |= {"MLMGMT_BASE_IMAGE": str(base), "MLMGMT_IMAGE_BUILDER": "daemonless"}
        try:
            with connect(home=home, compute="kubernetes") as workspace:
                rounds = _measure(workspace, Path(folder) / "score.py")
        finally:
            local.stop(home)
    columns = {kind: min(taken, key=_total) for kind, taken in rounds.items()}
    names = list(columns["new service"])
    rows: list[list[object]] = [[name, *[f"{steps[name]:.2f}" for steps in columns.values()]] for name in names]
    rows.append(["in all", *[f"{_total(steps):.2f}" for steps in columns.values()]])
    first, image = TARGETS.values()
    change = min(steps["image"] for steps in rounds["code change"])
    rows.append(["in all / target", f"{_total(columns['new service']) / first:.2f}x", ""])
    rows.append(["image / target", "", f"{change / image:.2f}x"])
    show(f"Deployment to a warm cluster: seconds (the least of {ROUNDS} rounds)", ["step", *columns], rows)


def _total(steps: Steps) -> float:
    return sum(steps.values())


def _measure(workspace: Workspace, driver: Path) -> dict[str, list[Steps]]:
    """Return the seconds by step of new services and of code changes, after a first one that warms everything up."""
    rounds: dict[str, list[Steps]] = {"new service": [], "code change": []}
    for number in range(ROUNDS + 1):
        for kind, taken in rounds.items():
            driver.write_text(DRIVER.format(word=f"{kind} {number}"))
            taken.append(_deploy(workspace, f"warm-{number}", driver))
        workspace.services.delete(f"warm-{number}")
    return {kind: taken[1:] for kind, taken in rounds.items()}


def _deploy(workspace: Workspace, name: str, driver: Path) -> Steps:
    taken: Steps = {}
    start = time.perf_counter()
    service = workspace.deploy(name, driver=driver, on_step=lambda step, seconds: taken.update({step: seconds}))
    taken["rest of deploy"] = time.perf_counter() - start - sum(taken.values())
    answered = time.perf_counter()
    assert len(workspace.services.run(service, 1)) == 2
    taken["score"] = time.perf_counter() - answered
    return taken


if __name__ == "__main__":
    main()
