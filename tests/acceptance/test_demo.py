"""`mlmgmt demo`, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmgmt_nb import local


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    local.stop(tmp_path / "home")


def _run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MLMGMT_HOME": str(home)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_it_prints_a_prediction_and_the_second_time_updates_the_service(home: Path) -> None:
    outputs = []
    for _ in range(2):  # registering the same model again does not create a version
        done = _run(home, sys.executable, "-m", "mlmgmt_nb.cli", "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Model iris, version 1, answers at http://127.0.0.1:" in done.stdout
        assert "[5.1, 3.5, 1.4, 0.2] -> setosa" in done.stdout
        for step in ("train", "connect", "model", "manifest", "image", "service", "score", "in total"):
            assert f" s  {step}\n" in done.stdout
        outputs.append(done.stdout)
    block = outputs[-1].partition("\n\nexport")[2].partition("\n\n")[0]
    answer = _run(home, "bash", "-c", f"export{block}")
    assert '"setosa"' in answer.stdout, answer.stderr
    first, second = (next(word for word in output.split() if word.endswith("/score")) for output in outputs)
    assert first == second


def test_without_scikit_learn_it_says_what_to_install(home: Path) -> None:
    code = "import sys; sys.modules['sklearn'] = None; from mlmgmt_nb.cli import main; sys.exit(main(['demo']))"
    done = _run(home, sys.executable, "-c", code)
    assert done.returncode == 1
    assert 'pip install "mlmgmt-nb[demo]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not home.exists()
