"""Measure a deployment in one line, and the speed of generated drivers.

Run it with `python -m tests.benchmarks.packaging`. The line is measured on a running service, in a fresh process each
time, which has fitted its pipeline before the clock starts: columns of text, categories, dates and gaps, and a
transformer that is of no module. The model is another one each time, so nothing is reused. Two processes have to load
it, one after the other: the proof, and the replica. Target: under 5 s, where a bare process loads the driver in 2 s.

Generated drivers are compared with drivers that a person would write without a schema, in one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

ROUNDS, SECONDS = 5, 1.0
STEPS = ("package", "model", "manifest", "image", "service", "rest")
BY_HAND = {
    "function": """\
import json
import pickle


def init():
    global model
    with open("model.pkl", "rb") as file:
        model = pickle.load(file)


def run(body):
    given = json.loads(body)
    return model(given["age"], given["plan"])
""",
    "frame": """\
import json

import pandas as pd
from skops import io


def init():
    global model
    model = io.load("model.skops")


def run(body):
    return model.predict_proba(pd.DataFrame(json.loads(body)["data"])).tolist()
""",
}


class Numbers(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of a notebook."""

    def fit(self, X: Any, y: Any = None) -> Numbers:
        self.fitted_ = True
        return self

    def transform(self, X: Any) -> Any:
        return np.column_stack([X.age.fillna(0), X.plan.notna(), X.since.dt.day, X.colour.cat.codes])


def customers() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [1.0, None, 8.0, 9.0],
            "plan": ["A", "B", "A", None],
            "since": pd.date_range("2024-01-31", periods=4, tz="Europe/Berlin"),
            "colour": pd.Categorical(["red", "blue", None, "red"]),
        }
    )


def numbers() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(20, 4)), columns=list("abcd"))


def price(age: int, plan: str) -> float:
    return age * (2.0 if plan == "A" else 1.0)


def fitted(strength: float) -> Any:
    return make_pipeline(Numbers(), LogisticRegression(C=strength)).fit(customers(), ["low", "low", "high", "high"])


def main() -> None:
    from tests.benchmarks.table import show

    taken = [(sum(steps.values()), steps) for steps in _lines()]
    least, steps = min(taken, key=lambda one: one[0])
    bare = _bare_load()
    rows: list[list[object]] = [[step, f"{steps[step]:.3f} ({steps[step] / least:3.0%})"] for step in STEPS]
    rows += [["in all", f"{least:.3f} (100%)"], ["a bare process that loads the driver", f"{bare:.3f}       "]]
    rows.append(["in all / twice the bare load", f"{least / bare / 2:.2f}x       "])
    show(f"A pipeline to a proven URL: seconds and share (the least of {ROUNDS})", ["step", "seconds"], rows)
    show(
        f"Requests in a process (the most of {ROUNDS} rounds of {SECONDS:g} s)",
        ["driver", "generated /s", "by hand /s", "generated / by hand"],
        [_compared("function", price, {"age": 41, "plan": "A"}), _compared("frame", _classifier(), numbers())],
    )


def _lines() -> list[dict[str, float]]:
    """Return the seconds of each step, for each round. The first line, which is not counted, starts the service."""
    from mlmgmt_nb import local

    with tempfile.TemporaryDirectory() as folder:
        try:
            rounds = [_in_a_fresh_process(Path(folder) / "home", strength) for strength in range(1, ROUNDS + 2)]
        finally:
            local.stop(Path(folder) / "home")
    return rounds[1:]


def _in_a_fresh_process(home: Path, strength: float) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.packaging", str(home), str(strength)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    steps: dict[str, float] = json.loads(done.stdout)
    return steps


def _line(home: str, strength: float) -> dict[str, float]:
    from mlmgmt_nb import connect

    model, sample, steps = fitted(strength), customers(), dict[str, float]()
    with connect(home=home) as workspace:
        workspace.models.list().to_frame()  # connected
        start = time.perf_counter()
        workspace.deploy(
            "churn",
            model=model,
            sample=sample,
            method="predict_proba",
            on_step=lambda step, seconds: steps.update({step: seconds, "rest": time.perf_counter()}),
        )
        whole = time.perf_counter() - start
    known = sum(seconds for step, seconds in steps.items() if step != "rest")
    return {**steps, "package": whole - known, "rest": 0.0}


def _bare_load() -> float:
    from mlmgmt_nb.packaging import package

    with tempfile.TemporaryDirectory() as folder:
        package(fitted(1.0), sample=customers(), to=folder)
        taken = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import score, pandas; score.init()"], cwd=folder, check=True)
            taken.append(time.perf_counter() - start)
    return min(taken)


def _classifier() -> Any:
    return LogisticRegression().fit(numbers(), ["low", "high"] * 10)


def _compared(name: str, model: Any, sample: Any) -> list[object]:
    from mlmgmt_nb.packaging import package
    from mlmgmt_nb.packaging.proof import compare

    with tempfile.TemporaryDirectory() as folder:
        method = "predict_proba" if name == "frame" else None
        made = package(model, sample=sample, method=method, to=Path(folder, "generated"))
        by_hand = Path(folder, "by-hand")
        by_hand.mkdir()
        (by_hand / "score.py").write_text(BY_HAND[name])
        os.link(made.model, by_hand / made.model.name)
        answers = [_answering(made.folder), _answering(by_hand)]
        for (
            answer
        ) in answers:  # a frame that is made otherwise has another order in memory, so sums differ in the last bit
            assert not compare(made.expected, json.loads(answer(made.request)), 1e-9)[1]
        rates = [max(pair) for pair in zip(*(_rates(answers, made.request) for _ in range(ROUNDS)), strict=True)]
    return [name, rates[0], rates[1], f"{rates[0] / rates[1]:.2f}x"]


def _answering(folder: Path) -> Callable[[bytes], bytes]:
    from mlmgmt_nb.scoring.application.application import find_application
    from mlmgmt_nb.scoring.driver.loading import load_driver

    before = Path.cwd()
    os.chdir(folder)
    try:
        return load_driver(find_application(str(folder), driver="score.py")).answer  # type: ignore[return-value]
    finally:
        os.chdir(before)
        sys.modules.pop("score", None)


def _rates(answers: list[Callable[[bytes], bytes]], body: bytes) -> list[float]:
    """Return the requests in a second of each, one after the other."""
    rates = []
    for answer in answers:
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            answer(body)
            count += 1
        rates.append(count / (time.perf_counter() - start))
    return rates


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_line(sys.argv[1], float(sys.argv[2]))))
    else:
        main()
