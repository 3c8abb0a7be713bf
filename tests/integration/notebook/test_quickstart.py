"""The cells of the README in a real kernel, and the commands that it names."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.integration.notebook.test_kernel import Kernel

README = (Path(__file__).parents[3] / "README.md").read_text()


@pytest.fixture
def kernel(environment: Path) -> Iterator[Kernel]:
    driver = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "def run" in block)
    (environment / "score.py").write_text(driver)
    model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
    (environment / "iris.pkl").write_bytes(pickle.dumps(model))
    kernel = Kernel(dict(os.environ))
    yield kernel
    kernel.stop()


def test_the_quickstart_runs_in_a_kernel(kernel: Kernel) -> None:
    (block,) = re.findall(r"```ipython\n(.*?)```", README, re.DOTALL)
    shown, texts = {}, {}
    for cell in block.strip().splitlines():
        ran = kernel.run(cell)
        assert ran["status"] == "ok", (cell, ran)
        results = [output["data"] for output in ran["outputs"] if output["type"] == "execute_result"]
        shown[" ".join(cell.split()[:3])] = results[0] if results else {}
        texts[" ".join(cell.split()[:3])] = "\n".join(
            output["data"]["text/plain"] for output in ran["outputs"] if "text/plain" in output.get("data", {})
        )
    assert shown["%mlmgmt service create"]["text/plain"].startswith("service iris-2 [Succeeded]\n")
    assert shown["%mlmgmt service run"]["text/plain"] == "[0]"
    assert re.search(r"^requests +100$", texts["%mlmgmt service test"], re.MULTILINE)
    assert shown["%mlmgmt service delete"]["text/plain"] == "service iris-2 is deleted"


def test_the_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(pictures) >= 1
    for picture in pictures:
        assert 0 < (Path(__file__).parents[3] / picture).stat().st_size < 150_000
