"""The examples of README.md and of guides, run unchanged."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlmgmt_nb import local

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("MLMGMT_HOME", str(tmp_path / "home"))
    yield tmp_path
    local.stop(tmp_path / "home")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _guide(name: str) -> list[str]:
    """Return the Python blocks of a guide."""
    text = (ROOT / ".docs" / "guides" / f"{name}.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def _steps() -> str:
    """Return the cells of the step-by-step guide, and the deletion at its end."""
    (steps,) = [block for block in _guide("first-service") if "Application(" in block]
    lines = [line for line in steps.splitlines() if not line.startswith(("ws = ", "service = "))]
    return "\n".join([*lines, 'ws.services.delete("iris")'])


def _train(folder: Path) -> None:
    model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
    (folder / "iris.pkl").write_bytes(pickle.dumps(model))


def test_the_cells_work(folder: Path) -> None:
    first, driver, packaged = _blocks("python")
    others = _steps()
    _train(folder)
    (folder / "score.py").write_text(driver)
    cells: dict[str, Any] = {}
    *statements, scored = first.strip().splitlines()
    exec("\n".join(statements), cells)
    assert eval(scored, cells) == [0]
    uri = cells["service"].scoring_uri
    *statements, deleted = others.strip().splitlines()
    exec("\n".join(statements), cells)
    assert cells["ws"].services.get("iris").scoring_uri == uri
    assert cells["ws"].services.get("iris").models[0].version == 2
    for guide in ("variables", "updating"):
        for block in _guide(guide):
            exec(block, cells)
    assert cells["ws"].services.get("iris").environment == {"THRESHOLD": "0.7"}
    assert eval(deleted, cells) is True
    rows, labels = load_iris(return_X_y=True, as_frame=True)
    cells |= {"X": rows, "pipeline": LogisticRegression(max_iter=1000).fit(rows, labels)}
    exec(packaged, cells)
    assert cells["ws"].services.get("churn").state == "Succeeded"
    cells["ws"].close()


def test_the_magics_work(folder: Path) -> None:
    _, driver, _ = _blocks("python")
    (cells,) = _blocks("ipython")
    _train(folder)
    (folder / "score.py").write_text(driver)
    script = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in {cells.strip().splitlines()!r}:
    shell.run_cell(cell).raise_error()
print(shell.user_ns["services"]["name"].tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "['iris-2']" in done.stdout
    assert "[0]" in done.stdout


def test_the_first_commands_are_the_ones_that_matter() -> None:
    assert [command.strip() for command in _blocks("sh")] == [
        'pip install -e ".[demo]" && mlmgmt demo',
        'pip install -e ".[test]" && pytest',
    ]


def test_every_file_that_it_names_is_there() -> None:
    named = re.findall(r"`((?:mlmgmt_nb|tests|\.ci)/[\w/.]*)`", (ROOT / ".docs" / "contributing.md").read_text())
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150
