"""A workspace on an embedded service of its own, which `connect()` starts and the end of the tests stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmgmt_nb import local
from mlmgmt_nb.client import Workspace, connect

ECHO = """\
import json

def init():
    global model
    with open("model.bin") as file:
        model = file.read()

def run(body):
    return {"model": model, "got": json.loads(body)}
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("client") / "home"
    yield home
    local.stop(home)


@pytest.fixture(scope="session")
def ws(home: Path) -> Iterator[Workspace]:
    with connect(home=home) as ws:
        yield ws


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """Return a folder with a driver that gives back what it gets, and its model."""
    (tmp_path / "score.py").write_text(ECHO)
    (tmp_path / "model.bin").write_text("one")
    return tmp_path
