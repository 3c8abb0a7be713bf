"""Count the lines and measure the seconds from a fitted model to the first correct answer of `curl`, by several tools.

python -m tests.benchmarks.first_curl --mlflow PYTHON --bentoml PYTHON

Each Python is of an environment with that tool, scikit-learn and pandas. The model is fitted before the clock starts.
The lines are those of the shortest way in the documentation of each tool; what a tool prints for pasting is not typed,
and not counted. The tools take turns, each round in an empty folder. Times include starting the programs, not typing.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.benchmarks.table import show

ROUNDS = 3
"""The least of them counts: other programs only add time."""
_DEADLINE = 120
_FIT = """\
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, labels = load_iris(return_X_y=True, as_frame=True)
X.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
model = LogisticRegression(max_iter=1000).fit(X, load_iris().target_names[labels])
print("fitted", flush=True)
"""
_ROW = '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
_JSON = "-H 'Content-Type: application/json'"


@dataclass(frozen=True)
class Tool:
    """A tool, and what its user types.

    Attributes:
        name: its row in the table.
        notebook: lines after the fit, in the same process.
        files: files that the user writes, by name.
        serve: the command of a server that runs in the foreground; "" without one.
        shell: commands until `curl` answers.
        pasted: a command whose output has the shell commands to paste, from `export` to the next empty line.
    """

    name: str
    notebook: str
    shell: str = ""
    files: dict[str, str] = field(default_factory=dict)
    serve: str = ""
    pasted: str = ""

    @property
    def lines(self) -> int:
        """The number of lines that the user types."""
        typed = [self.notebook, self.serve, self.shell, self.pasted, *self.files.values()]
        return sum(bool(line.strip()) for text in typed for line in text.splitlines())


OURS = Tool(
    "mlmgmt-nb",
    notebook='from mlmgmt_nb import connect\nconnect().deploy("iris", model=model, sample=X)\n',
    pasted="mlmgmt service usage -n iris",
)
MLFLOW = Tool(
    "MLflow",
    notebook='import mlflow.sklearn\nmlflow.sklearn.save_model(model, "iris")\n',
    serve="mlflow models serve -m ./iris -p 5000 --env-manager local",
    shell=f"curl http://127.0.0.1:5000/invocations {_JSON} -d '{{\"dataframe_records\": [{_ROW}]}}'",
)
BENTOML = Tool(
    "BentoML",
    notebook='import bentoml\nbentoml.sklearn.save_model("iris", model)\n',
    files={
        "service.py": """\
import bentoml
import pandas as pd
@bentoml.service
class Iris:
    def __init__(self):
        self.model = bentoml.sklearn.load_model("iris:latest")
    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> list[str]:
        return self.model.predict(rows).tolist()
"""
    },
    serve="bentoml serve service:Iris",
    shell=f"curl http://127.0.0.1:3000/predict {_JSON} -d '{{\"rows\": [{_ROW}]}}'",
)


def seconds_of(tool: Tool, python: str, folder: Path) -> tuple[float, float]:
    """Return the seconds, and the CPU seconds of all processes, from the fitted model to the first correct answer.

    Args:
        tool: the tool.
        python: the Python of its environment.
        folder: an empty folder.

    Raises:
        RuntimeError: a step failed, or there was no correct answer in time.
    """
    environment = _environment(python, folder)
    for name, text in tool.files.items():
        (folder / name).write_text(text)
    command = [python, "-c", _FIT + tool.notebook]
    with (folder / "notebook.log").open("w") as log:
        notebook = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert notebook.stdout is not None
        assert notebook.stdout.readline() == "fitted\n", (folder / "notebook.log").read_text()
        begun, spent = time.perf_counter(), _cpu_seconds(folder)
        notebook.stdout.read()
        if notebook.wait():
            raise RuntimeError(f"{tool.name}: {(folder / 'notebook.log').read_text()}")
    with _serving(tool, folder, environment):
        shell = tool.shell
        if tool.pasted:
            printed = subprocess.run(
                ["bash", "-c", tool.pasted], env=environment, capture_output=True, text=True, check=True
            )
            shell = "export" + printed.stdout.partition("export")[2].partition("\n\n")[0]
        while time.perf_counter() < begun + _DEADLINE:
            answer = subprocess.run(["bash", "-c", shell], env=environment, cwd=folder, capture_output=True, text=True)
            if "setosa" in answer.stdout:
                return time.perf_counter() - begun, _cpu_seconds(folder) - spent
            time.sleep(0.05)
    raise RuntimeError(f"{tool.name}: {answer.stdout}{answer.stderr}")


def _cpu_seconds(folder: Path) -> float:
    """Return the CPU seconds of children that have ended, and those that live and name a folder."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    for process in psutil.process_iter():
        try:
            if any(str(folder) in text for text in (*process.environ().values(), *process.cmdline())):
                total += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return total


def _environment(python: str, folder: Path) -> dict[str, str]:
    """Return an environment in which the programs of a Python come first and all state is in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLMGMT_", "MLFLOW_", "BENTO"))}
    return {
        **kept,
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        "MLMGMT_HOME": str(folder / "home"),
        "MLMGMT_CONFIG": str(folder / "config.toml"),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@contextmanager
def _serving(tool: Tool, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run the server of a tool, in a process group of its own."""
    if not tool.serve:
        yield
        subprocess.run(["mlmgmt", "stop"], env=environment, check=True, capture_output=True)
        return
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {tool.serve}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def main() -> None:
    """Measure in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlflow", help="the Python of an environment with MLflow")
    parser.add_argument("--bentoml", help="the Python of an environment with BentoML")
    given = parser.parse_args()
    tools = [(OURS, sys.executable), (MLFLOW, given.mlflow), (BENTOML, given.bentoml)]
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for tool, python in tools:
            if python:
                with tempfile.TemporaryDirectory() as folder:
                    taken.setdefault(tool.name, []).append(seconds_of(tool, python, Path(folder)))
    least = {name: [f"{min(of):.1f}" for of in zip(*rounds, strict=True)] for name, rounds in taken.items()}
    rows = [[tool.name, tool.lines, *least[tool.name]] for tool, _ in tools if tool.name in least]
    title = f"Fitted model to the first correct answer of curl (seconds: the least of {ROUNDS} rounds)"
    show(title, ["tool", "lines typed", "seconds", "CPU seconds"], rows)


if __name__ == "__main__":
    main()
