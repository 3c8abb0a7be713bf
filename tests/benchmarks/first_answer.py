"""Measure the time from a trained model to its first scored answer, in a fresh process each time.

Run it with `python -m tests.benchmarks.first_answer`. The model is trained and saved before the clock starts, as
in a notebook. One model is scikit-learn's, whose import dominates the work of the replica; the other needs only the
standard library. Each round also starts a bare process that only loads the driver. Targets: the time of that process
and 0.9 s on an empty state folder (the service is started too), and 0.3 s with the service running.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
"""The least of them counts: other programs only add time."""
TARGETS = {"empty": 0.9, "running": 0.3}
ROW = [5.1, 3.5, 1.4, 0.2]
DRIVER = """\
import json
import pickle


def init():
    global model
    with open("model.pkl", "rb") as file:
        model = pickle.load(file)


def run(http_body):
    rows = json.loads(http_body)
    return [sum(map(float.__mul__, row, model)) > 0 for row in rows] if type(model) is list else model.predict(rows)
"""
Steps = dict[str, float]


def main() -> None:
    from tests.benchmarks.table import show

    columns: dict[str, Steps] = {}
    loads: list[float] = []
    for kind in ("scikit-learn", "plain"):
        bare, rounds = _measured(kind)
        columns |= {f"{kind}, {state}": min(taken, key=_total) for state, taken in rounds.items()}
        loads += [min(bare)] * len(rounds)
    totals = [_total(steps) for steps in columns.values()]
    rows: list[list[object]] = [
        [step, *[f"{steps[step]:.3f}" for steps in columns.values()]]
        for step in ("import", "connect", "model", "manifest", "image", "service", "rest of deploy", "score")
    ]
    rows.append(["in all", *[f"{total:.3f}" for total in totals]])
    rows.append(["a bare process that loads the driver", *[f"{load:.3f}" for load in loads]])
    above = [total - load for total, load in zip(totals, loads, strict=True)]
    rows.append(["above it", *[f"{each:.3f}" for each in above]])
    targets = [*TARGETS.values()] * 2
    rows.append(["above it / target (0.9 s, 0.3 s)", *[f"{a / t:.2f}x" for a, t in zip(above, targets, strict=True)]])
    show(f"Trained model to first scored answer: seconds (the least of {ROUNDS} rounds)", ["step", *columns], rows)


def _total(steps: Steps) -> float:
    return sum(steps.values())


def _measured(kind: str) -> tuple[list[float], dict[str, list[Steps]]]:
    """Return the seconds of bare processes, and those by step, on an empty state folder and then with the service."""
    from mlmgmt_nb import local

    bare: list[float] = []
    rounds: dict[str, list[Steps]] = {state: [] for state in TARGETS}
    for _ in range(ROUNDS):
        bare.append(_bare_load(kind))
        with tempfile.TemporaryDirectory() as folder:
            try:
                for taken in rounds.values():
                    taken.append(_in_a_fresh_process(kind, folder))
            finally:
                local.stop(Path(folder) / "home")
    return bare, rounds


def _in_a_fresh_process(kind: str, folder: str) -> Steps:
    command = [sys.executable, "-m", "tests.benchmarks.first_answer", kind, folder]
    taken: Steps = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return taken


def _bare_load(kind: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        _train(kind, Path(folder))
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import score; score.init()"], cwd=folder, check=True)
        return time.perf_counter() - start


def _measure(folder: Path) -> Steps:
    """Return the seconds of each step, in order. Nothing of mlmgmt-nb may be imported before."""
    taken: Steps = {}
    start = time.perf_counter()

    def note(step: str) -> None:
        taken[step] = time.perf_counter() - start - sum(taken.values())

    from mlmgmt_nb import connect

    note("import")
    with connect(home=folder / "home") as workspace:
        note("connect")
        service = workspace.deploy(
            "first-answer",
            model=folder / "model.pkl",
            driver=folder / "score.py",
            on_step=lambda step, seconds: taken.update({step: seconds}),
        )
        note("rest of deploy")
        assert len(workspace.services.run(service, [ROW])) == 1
        note("score")
    return taken


def _train(kind: str, folder: Path) -> None:
    import pickle

    (folder / "score.py").write_text(DRIVER)
    model: object = [0.1, -0.2, 0.3, -0.4]
    if kind == "scikit-learn":
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
    (folder / "model.pkl").write_bytes(pickle.dumps(model))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _train(sys.argv[1], Path(sys.argv[2]))
        print(json.dumps(_measure(Path(sys.argv[2]))))
    else:
        main()
