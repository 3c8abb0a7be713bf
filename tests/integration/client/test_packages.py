"""What requirements and conda files name here is installed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.interpreters import HERE, find_interpreter
from tests.support.package_index import project, wheel

SAYS = "import sys, {module}\ndef init(): pass\ndef run(body): return [{module}.WHAT, '%d.%d' % sys.version_info[:2]]\n"
DEADLINE = 120.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", ["./lib", "-e lib", "ours @ lib", "-r sub/more.txt"])
def test_a_folder_that_changes(ws: Workspace, folder: Path, line: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "more.txt").write_text("../lib\n")
    (folder / "score.py").write_text(SAYS.format(module="ours"))
    for what in ("before", "after"):
        project(folder / "lib", "ours", what)
        service = ws.deploy("folder", driver="score.py", requirements=[line], timeout=DEADLINE)
        assert ws.services.run(service, {}) == [what, HERE]
    manifest = ws.manifests.get("folder")
    assert [asset.id for asset in manifest.assets] == ["driver", "packages/1"]
    ws.services.delete("folder")


def test_a_conda_file_with_files_and_another_python(ws: Workspace, folder: Path) -> None:
    other = next((version for version in ("3.12", "3.13") if version != HERE and find_interpreter([version])), None)
    if other is None:
        pytest.skip("no other Python is installed, and uv cannot install one")
    wheel(folder / "dist", "ours", "1.0", "sent")
    (folder / "score.py").write_text(SAYS.format(module="ours"))
    entries = f"[python={other}, pip, {{pip: [./dist/ours-1.0-py3-none-any.whl]}}]"
    (folder / "env.yml").write_text(f"dependencies: {entries}\n")
    service = ws.deploy("conda", driver="score.py", conda="env.yml", timeout=DEADLINE)
    assert ws.services.run(service, {}) == ["sent", other]
    service = ws.deploy("conda", driver="score.py", conda="env.yml", any_python=True, timeout=DEADLINE)
    assert ws.services.run(service, {}) == ["sent", HERE]
    ws.services.delete("conda")


def test_nothing_is_sent_of_what_cannot_be_served(ws: Workspace, folder: Path) -> None:
    (folder / "score.py").write_text("def run(body): return 1\n")
    (folder / "model.bin").write_text("never sent")
    (folder / "env.yml").write_text("dependencies: [python=3.6, {pip: [./none.whl]}]\n")
    before = len(list(ws.models.list()))
    with pytest.raises(UsageError, match=r"none\.whl"):
        ws.deploy("refused", model="model.bin", driver="score.py", conda="env.yml")
    (folder / "env.yml").write_text("dependencies: [python=3.6]\n")
    with pytest.raises(UsageError, match=r"python=3\.6"):
        ws.deploy("refused", model="model.bin", driver="score.py", conda="env.yml")
    assert len(list(ws.models.list())) == before
