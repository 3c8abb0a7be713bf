"""Measure the time from a trained model to its first scored answer, in a fresh process each time.

Run it with `python -m tests.benchmarks.first_answer`. The model is trained and saved before the clock starts, as
in a notebook. One model is scikit-learn's, whose import dominates the work of the replica; the other needs only the
standard library. Targets: under 3 s on an empty state folder (the service is started too), under 1.5 s with the service
running.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 3
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

    columns = {
        f"{kind}, {state}": rounds for kind in ("scikit-learn", "plain") for state, rounds in _measured(kind).items()
    }
    totals = [sum(steps.values()) for steps in columns.values()]
    rows: list[list[object]] = [
        [
            step,
            *[
                f"{steps[step]:.3f} ({steps[step] / total:3.0%})"
                for steps, total in zip(columns.values(), totals, strict=True)
            ],
        ]
        for step in ("import", "connect", "model", "manifest", "image", "service", "rest of deploy", "score")
    ]
    rows.append(["in all", *[f"{total:.3f} (100%)" for total in totals]])
    loads = [_bare_load("scikit-learn")] * 2 + [_bare_load("plain")] * 2
    rows.append(["a bare process that loads the driver", *[f"{load:.3f}       " for load in loads]])
    rows.append(
        [
            "total / target (3 s, 1.5 s)",
            *[f"{total / target:.2f}x       " for total, target in zip(totals, (3, 1.5, 3, 1.5), strict=True)],
        ]
    )
    show(f"Trained model to first scored answer: seconds and share (medians of {ROUNDS})", ["step", *columns], rows)


def _measured(kind: str) -> dict[str, Steps]:
    """Return seconds by step, on an empty state folder and then with the service running."""
    from mlmgmt_nb import local

    rounds: dict[str, list[Steps]] = {"empty": [], "running": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            try:
                for taken in rounds.values():
                    taken.append(_in_a_fresh_process(kind, folder))
            finally:
                local.stop(Path(folder) / "home")
    return {state: {step: median(one[step] for one in taken) for step in taken[0]} for state, taken in rounds.items()}


def _in_a_fresh_process(kind: str, folder: str) -> Steps:
    command = [sys.executable, "-m", "tests.benchmarks.first_answer", kind, folder]
    taken: Steps = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return taken


def _bare_load(kind: str) -> float:
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        _train(kind, Path(folder))
        for _ in range(ROUNDS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import score; score.init()"], cwd=folder, check=True)
            taken.append(time.perf_counter() - start)
    return median(taken)


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
