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
import colorsys
import json
import numpy
{}
def init():
    global model
    import pickle
    model = pickle.load(open("model.pkl", "rb"))
def run(body):
    names = list(__import__("sys").modules)
    return [name for name in ("numpy", "sklearn") if names.index(name) < names.index("colorsys")]
"""


@pytest.mark.parametrize(
    ("statement", "modules"),
    [
        ("", ["numpy", "sklearn"]),
        ("import os; os.environ['OMP_NUM_THREADS'] = '1'", ["numpy"]),
    ],
)
def test_modules_are_imported_in_advance(ws: Workspace, tmp_path: Path, statement: str, modules: list[str]) -> None:
    """Modules are in the order of their imports, and the driver first imports one of the standard library."""
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(LogisticRegression()))
    (tmp_path / "score.py").write_text(DRIVER.format(statement))
    for _ in range(ATTEMPTS):
        service = ws.deploy(
            "warm",
            model=tmp_path / "model.pkl",
            driver=tmp_path / "score.py",
            if_exists="update",
            timeout=DEADLINE,
        )
        imported = ws.services.run(service, {})
        if imported:
            break
    ws.services.delete(service)
    assert imported == modules
