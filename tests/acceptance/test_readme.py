"""The examples of README.md and of guides, run unchanged."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from IPython.core.interactiveshell import InteractiveShell
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlmgmt_nb import connect, local
from tests.support.package_index import package_index, wheel

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


GUIDES = sorted((ROOT / ".docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
RUN = {
    "changing": ["python", "ipython"] * 2 + ["python", *["python", "ipython"] * 5, "python", "ipython"],
    "drivers": ["python"],
    "environments": ["python"],
    "first-service": ["python", "ipython", "python", "ipython", "python"],
    "packaging": ["python", "ipython", "text"],
    "recording": ["python", "python", "python", "python", "ipython"],
    "scoring-tests": ["ipython", "python"],
    "updating": ["python"],
    "variables": ["python"],
}
"""The blocks of guides that run here, in their order."""
NOT_RUN = {
    "changing": {"console": "its Python block does the same; test_gate runs the flags"},
    "first-service": {
        "bash": "the demo has a test of its own",
        "ipython": "the README deletes its service the same way",
    },
    "kubernetes": {
        "bash": "needs a cluster and its secrets; test_own_manifests writes the manifests",
        "console": "needs a cluster; test_kubernetes runs the command",
        "toml": "needs a cluster; test_kubernetes writes such a file",
    },
    "old-drivers": {
        "bash": "test_compat runs the command",
        "python": "it changes the imports of the whole process; the tests of old drivers have processes of their own",
    },
    "packaging": {"python": "files of frameworks, which the tests of flavours package"},
    "recording": {
        "bash": "test_collected.py records in an Azure storage account",
        "console": "its Python block does the same; test_recording and test_variables run such flags",
    },
    "server": {"bash": "needs a tenant of Azure AD and a certificate; its flags are parsed in test_named_commands"},
    "signing-in": {"bash": "needs Azure AD; its flags are parsed in test_named_commands"},
    "variables": {"bash": "its Python block does the same; test_variables runs the flags"},
}
"""The other blocks, with the reason."""

FLOWERS = """
import numpy

class Flowers:
    def predict(self, rows):
        return numpy.zeros(len(rows), dtype=int)
"""
MODELS = """
import pandas as pd

class Pipeline:
    def predict(self, rows):
        return [int(share > 0.5) for share in rows["share"]]

    def predict_proba(self, rows):
        return [[1 - share, share] for share in rows["share"]]

def score_row(age: int, plan: str) -> float:
    return 0.2 if plan == "A" and age < 30 else 0.0

pipeline, X = Pipeline(), pd.DataFrame({"share": [0.25, 0.75] * 10})
flowers = X
frame = flowers.assign(species=[[answer] for answer in pipeline.predict_proba(X)])
"""
"""Models of a notebook that load fast: the notebooks package those of scikit-learn."""


@pytest.fixture
def folder(tmp_path: Path, uv_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the current folder, with the files that the examples name. `xgboost` is a wheel of a few bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("MLMGMT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
    (tmp_path / "iris.pkl").write_bytes(pickle.dumps(model))
    (tmp_path / "score.py").write_text(_readme("python")[1])
    wheel(tmp_path / "index" / "xgboost", "xgboost", "3.0", "the package of the index")
    with package_index(tmp_path / "index") as url:
        monkeypatch.setenv("UV_INDEX", url)
        yield tmp_path
        local.stop(tmp_path / "home")


def _readme(language: str) -> list[str]:
    return [block for kind, block in BLOCK.findall(README) if kind == language]


def _guide(name: str, language: str) -> list[str]:
    """Return the blocks of a guide that run, in a language."""
    found = BLOCK.findall((ROOT / ".docs" / "guides" / f"{name}.md").read_text())
    count = RUN[name].count(language)
    return [block for kind, block in found if kind == language][:count]


def _connect(cells: dict[str, Any]) -> None:
    """Run the first cell of the README, whose last line is a prediction."""
    *statements, scored = _readme("python")[0].strip().splitlines()
    exec("\n".join(statements), cells)
    assert eval(scored, cells) == [0]


def test_the_cells_work(folder: Path) -> None:
    cells: dict[str, Any] = {}
    exec(FLOWERS, cells)  # starts faster than the model of scikit-learn, which the magics serve
    (folder / "iris.pkl").write_bytes(cloudpickle.dumps(cells["Flowers"]()))
    _connect(cells)
    ws = cells["ws"]
    uri = cells["service"].scoring_uri
    (folder / "score.py").write_text(_guide("drivers", "python")[0])
    steps, called, listed = _guide("first-service", "python")
    exec("\n".join(line for line in steps.splitlines() if not line.startswith(("ws = ", "service = "))), cells)
    exec(called, cells)
    assert eval(listed, cells)["version"].tolist() == [2]
    assert ws.services.get("iris").scoring_uri == uri
    for guide in ("variables", "updating"):
        for block in _guide(guide, "python"):
            exec(block, cells)
    assert ws.services.get("iris").environment == {"THRESHOLD": "0.7"}
    exec('ws.services.delete("iris")', cells)
    ws.close()


def test_models_and_packages(folder: Path) -> None:
    cells: dict[str, Any] = {"ws": connect()}
    ws = cells["ws"]
    exec(MODELS, cells)
    (packaged,) = _guide("packaging", "python")
    assert _readme("python")[2] in packaged
    exec(packaged, cells)
    assert ws.services.run("churn", cells["X"].head(1)) == [[0.75, 0.25]]
    assert ws.services.run("segment", cells["X"].head(2)) == [0, 1]
    assert ws.services.run("risk", {"age": 20, "plan": "A"}) == 0.2
    exec(_guide("scoring-tests", "python")[0].replace('"iris"', '"churn"'), cells)
    assert cells["report"].summary["passed"] == 20
    (folder / "score.py").write_text("import xgboost\n\n\ndef run(body):\n    return xgboost.WHAT\n")
    (folder / "churn.ubj").write_text("a model")
    (folder / "environment.yml").write_text("dependencies: [pip, {pip: [xgboost]}]\n")
    for deploy in _guide("environments", "python")[0].strip().splitlines():
        exec(deploy, cells)
        assert ws.services.run("churn", {}) == "the package of the index"
    ws.close()


def test_a_change_is_looked_at_judged_and_taken_back(folder: Path) -> None:
    cells: dict[str, Any] = {"ws": connect()}
    ws = cells["ws"]
    exec(MODELS, cells)
    (folder / "model.pkl").write_bytes(b"a model")
    services = {name: ws.deploy(name, model=cells["pipeline"], sample=cells["X"]) for name in ("churn", "churn-test")}
    ws.services.update("churn", max_concurrent_requests=3).result()
    old, new = (service.image for service in services.values())
    cells |= {"new_pipeline": cells["pipeline"], "cases": cells["X"], "image": new, "old_image": old, "new_image": new}
    for block in _guide("changing", "python"):
        while "mirror_report" in block and not cells["change"].refresh().candidate.mirror.pairs:
            ws.services.run("churn", cells["X"])  # the first copies are made soon
        exec(block, cells)
    assert cells["report"].gate("agree >= 0.95 and errors == 0").outcome == "passed"
    assert ws.services.get("churn").image.id == cells["change"].candidate.image.id
    assert ws.services.get("churn").last_change.reason == "worse for new customers"
    for block in _guide("recording", "python"):
        while ".replay(" in block and ws.services.requests("churn").empty:  # half of them are recorded, soon
            ws.services.run("churn", cells["X"])
        exec(block, cells)
    shell: Any = InteractiveShell.instance()
    try:
        shell.run_cell("%load_ext mlmgmt_nb").raise_error()
        for block in [*_guide("changing", "ipython"), *_guide("recording", "ipython")]:
            for line in block.replace("--image-id ID", f"--image-id {new.id}").strip().splitlines():
                while (
                    line.endswith("service mirror -n churn") and not ws.services.change("churn").candidate.mirror.pairs
                ):
                    ws.services.run("churn", cells["X"])
                shell.run_cell(line).raise_error()
    finally:
        shell.run_cell("%unload_ext mlmgmt_nb")
        InteractiveShell.clear_instance()
    assert [one.change for one in ws.deployments.list(service="churn")].count("rollback") == 2
    ws.close()


def test_the_magics_work(folder: Path) -> None:
    (cells,) = _readme("ipython")
    created, panel = _guide("first-service", "ipython")
    assert created.strip().splitlines() == [cell.replace("iris-2", "iris") for cell in cells.splitlines()[:2]]
    (packaged,), (tested,) = _guide("packaging", "ipython"), _guide("scoring-tests", "ipython")
    tested = tested.replace("iris-old", "churn").replace("iris", "churn")
    script = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in {[*cells.strip().splitlines(), MODELS, packaged, *tested.strip().splitlines(), panel]!r}:
    print(cell, "\\n-->")
    shell.run_cell(cell).raise_error()
print(shell.user_ns["services"]["name"].tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "['iris-2']" in done.stdout
    assert "[0]" in done.stdout
    (shown,) = _guide("packaging", "text")
    assert re.sub(r":\d+/", ":PORT/", shown) in re.sub(r":\d+/", ":PORT/", done.stdout)
    assert re.search(r"^answered +1000$", done.stdout, re.MULTILINE)
    assert len(re.findall(r"^passed +20$", done.stdout, re.MULTILINE)) == 2  # with `--expect`, and with `--against`


def test_every_block_of_a_guide_runs_or_says_why_not() -> None:
    for guide in GUIDES:
        found = [language for language, _ in BLOCK.findall(guide.read_text())]
        run, others = RUN.get(guide.stem, []), NOT_RUN.get(guide.stem, {})
        assert sorted(found) == sorted([*run, *others]), guide.stem


def test_the_first_commands_are_the_ones_that_matter() -> None:
    assert [command.strip() for command in _readme("sh")] == [
        'pip install -e ".[demo]" && mlmgmt demo',
        'pip install -e ".[test]" && pytest',
    ]


def test_every_file_that_it_names_is_there() -> None:
    named = re.findall(r"`((?:mlmgmt_nb|tests|\.ci)/[\w/.]*)`", (ROOT / ".docs" / "contributing.md").read_text())
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150
