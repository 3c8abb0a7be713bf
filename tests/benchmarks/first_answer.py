"""From a trained model to its first scored answer, in a fresh process each time.

Run it with `python -m tests.benchmarks.first_answer`. The model is trained and saved before the clock starts, as it is
in a notebook. Targets: under 3 s on an empty state folder (the service is started too), under 1.5 s with the service
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

import msgspec

from mlmgmt_nb import local
from tests.benchmarks.table import show

ROUNDS = 3
DRIVER = """\
import json
import pickle


def init():
    global model
    with open("model.pkl", "rb") as file:
        model = pickle.load(file)


def run(http_body):
    return model.predict(json.loads(http_body)).tolist()
"""


def main() -> None:
    empty, running, loads = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            try:
                empty.append(_in_a_fresh_process(folder))
                running.append(_in_a_fresh_process(folder))
                loads.append(_bare_load(folder))
            finally:
                local.stop(Path(folder) / "home")
    bare = median(loads)
    for title, rounds in (("Empty state folder", empty), ("With the service running", running)):
        steps = {step: median(taken[step] for taken in rounds) for step in rounds[0]}
        total = sum(steps.values())
        show(
            f"{title}: trained model to first scored answer (medians of {ROUNDS})",
            ["step", "s", "share %"],
            [[step, taken, 100 * taken / total] for step, taken in [*steps.items(), ("in all", total)]],
        )
    print(f"\n  A bare Python process that only loads the driver takes {bare:.3g} s; the step 'service' does that too.")


def _in_a_fresh_process(folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.first_answer", folder]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return msgspec.json.decode(answer.stdout, type=dict[str, float])


def _bare_load(folder: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import score; score.init()"], cwd=folder, check=True)
    return time.perf_counter() - start


def _measure(folder: Path) -> dict[str, float]:
    """Seconds of each step, in the order in which they happen."""
    _train(folder)
    taken: dict[str, float] = {}
    start = time.perf_counter()
    from mlmgmt_nb import connect

    taken["import"] = time.perf_counter() - start
    with connect(home=folder / "home") as workspace:
        taken["connect"] = time.perf_counter() - start - sum(taken.values())
        service = workspace.deploy(
            "first-answer",
            model=folder / "model.pkl",
            driver=folder / "score.py",
            on_step=lambda step, seconds: taken.update({step: seconds}),
        )
        taken["rest of deploy"] = time.perf_counter() - start - sum(taken.values())
        assert workspace.services.run(service, [[5.1, 3.5, 1.4, 0.2]]) == [0]
        taken["score"] = time.perf_counter() - start - sum(taken.values())
    return taken


def _train(folder: Path) -> None:
    import pickle

    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    inputs, kinds = load_iris(return_X_y=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(LogisticRegression(max_iter=1000).fit(inputs, kinds)))
    (folder / "score.py").write_text(DRIVER)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_measure(Path(sys.argv[1]))))
    else:
        main()
