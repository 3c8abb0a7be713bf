"""The first replica of a driver of one's own starts from a process that has imported its packages."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from mlmgmt_nb.client import Workspace

DEADLINE = 120.0
ATTEMPTS = 3
"""Deployments until one finds its process ready: on a busy machine, an image may be built sooner."""
DRIVER = """\
import json
import numpy
{}
def init():
    global model
    import pickle
    model = pickle.load(open("model.pkl", "rb"))
def run(body):
    return open("/proc/self/cmdline").read().split("\\0")
"""
SPARE = "mlmgmt_nb.scoring.process.spare"


@pytest.mark.parametrize(
    ("statement", "modules"),
    [
        ("", ["numpy", "sklearn.linear_model._logistic"]),
        ("import os; os.environ['OMP_NUM_THREADS'] = '1'", ["numpy"]),
    ],
)
def test_modules_are_imported_in_advance(ws: Workspace, tmp_path: Path, statement: str, modules: list[str]) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(LogisticRegression()))
    (tmp_path / "score.py").write_text(DRIVER.format(statement))
    for attempt in range(ATTEMPTS):
        service = ws.deploy(
            "warm",
            model=tmp_path / "model.pkl",
            driver=tmp_path / "score.py",
            if_exists="update",
            timeout=DEADLINE,
        )
        command = ws.services.run(service, {})
        if (SPARE in command and len(command) > command.index(SPARE) + 3) or attempt == ATTEMPTS - 1:
            break
    ws.services.delete(service)
    assert [part for part in command[command.index(SPARE) + 2 :] if part] == modules
