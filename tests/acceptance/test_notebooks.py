"""The tutorial notebooks: they run as they stand, twice in a row, and what they show is what is committed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from mlmgmt_nb import connect, local
from tests.acceptance.panels.kernels import VERSIONS
from tests.acceptance.panels.lab import jupyter_environment

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RULES = ROOT / "tests" / "nbval.cfg"

MOST_BYTES = 300_000
"""Of a notebook's file: it is read over the network, and kept for ever."""
PRIVATE = re.compile(
    r"""(?<![\w./])/(?:home|root|tmp|work|usr|var|opt|mnt|srv|private|Users)/|\b[A-Z]:\\Users\\|file:///"""
    r"""|Bearer (?![{$])\S|[?&](?:token|code|sig)=\S|\b(?=[\w-]*\d)[A-Za-z0-9_-]{32,}\b"""
)
"""A path of the machine that ran it, and what keys and tokens look like."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b([0-9a-f]{32}){1,2}\b")
"""Of a resource, or of content: no secret, though as long as one."""
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose service runs."""
    home = tmp_path / "home"
    local.ensure(home)
    yield home
    local.stop(home)


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    """What notebooks are run in: that service, Jupyter in folders of its own, and nothing of the user's."""
    ours = {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(tmp_path / "config.toml")}
    found = jupyter_environment(tmp_path / "jupyter", ours)
    return {name: value for name, value in found.items() if name in ours or not name.startswith(("MLMGMT_", "PYTEST_"))}


def _run(folder: Path, kernel: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the notebooks of a folder, two at a time, and compares what they show."""
    options = ("--nbval", "--nbval-kernel-name", kernel, "--nbval-sanitize-with", str(RULES))
    patient = ("--nbval-cell-timeout", "300", "--nbval-kernel-startup-timeout", "300")
    two = ("-n", "2", "--dist", "loadfile")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *two, *options, *patient, str(folder))
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=900)


@pytest.mark.timeout(2000)
def test_they_run_twice_in_a_row_show_what_is_committed_and_clean_up(
    home: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for notebook in NOTEBOOKS:
        shutil.copy(notebook, folder)
    assert NOTEBOOKS
    # Whoever draws first finds the machine's fonts, and says so if it takes long.
    subprocess.run((sys.executable, "-c", "import matplotlib.font_manager"), check=True, capture_output=True)
    for version in VERSIONS:  # each of them is one time of the two
        done = _run(folder, f"ipykernel-{version}", environment)
        assert done.returncode == 0, done.stdout + done.stderr
        left = {path.name for path in folder.iterdir()}
        assert left == {notebook.name for notebook in NOTEBOOKS}
        assert list(connect(home=home).services.list()) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_read_well_without_a_kernel_and_have_nothing_private(notebook: Path) -> None:
    assert notebook.stat().st_size < MOST_BYTES
    read = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    assert set(read.metadata) == {"kernelspec", "language_info"}, "the state of widgets, or the like"
    assert read.metadata.kernelspec.name == "python3"
    assert any(cell.get("outputs") for cell in read.cells)
    for cell in read.cells:
        assert set(cell.metadata) <= {"tags"}
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        for text in (cell.source, *_texts(cell.get("outputs", []), may_raise=may_raise)):
            assert not (found := PRIVATE.search(_ID.sub("ID", _COLOR.sub("", text)))), found


def _texts(outputs: list[nbformat.NotebookNode], *, may_raise: bool) -> Iterator[str]:
    for output in outputs:
        assert may_raise or output.output_type != "error", output
        yield "\n".join([output.get("text", ""), *output.get("traceback", [])])
        yield from (str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))
