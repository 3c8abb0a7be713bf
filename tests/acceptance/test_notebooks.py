"""The tutorial notebooks: they run unchanged, and their outputs match the committed ones.

CI runs all of them, some twice in a row.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlmgmt_nb import connect, local
from mlmgmt_nb.commands.config import Config
from tests.acceptance.panels.kernels import VERSIONS
from tests.acceptance.panels.server import jupyter_environment
from tests.support.engine import BASE
from tests.support.searches import IN_CI, long_search
from tests.support.team import team

if TYPE_CHECKING:
    import nbformat

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCKER, REMOTE, KUBERNETES = "06-docker", "07-remote-account", "10-kubernetes"
"""Notebooks that need more than the local service; that of Kubernetes runs beside the tests of its compute."""
WITH_WIDGETS = ("01-quickstart", "02-lifecycle", DOCKER)
"""Notebooks that CI also runs on the older kernel: they have every panel, and progress. Other cells are alike there."""
FIRST = ("01-quickstart",)
"""Notebooks that run without CI, too."""
RULES = ROOT / "tests" / "nbval.cfg"

MOST_BYTES = 300_000
"""Maximum size of a notebook file, which is read over the network and kept forever."""
PRIVATE = re.compile(
    r"""(?<![\w./])/(?:home(?!/mlmgmt\b)|root|tmp|work|usr|var|opt|mnt|srv|private|Users)/|\b[A-Z]:\\Users\\|file:///"""
    r"""|Bearer (?![{$])\S|[?&](?:token|code|sig)=\S|\b(?=[\w-]*\d)[A-Za-z0-9_-]{32,}\b"""
)
"""A path of the machine that ran it (`/home/mlmgmt` is one of images), and patterns of keys and tokens."""
_ID = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b([0-9a-f]{32}){1,2}\b|-cp\d+-\w+-\w+"
    r"|\b[a-z]+-[0-9a-f]{10}-[0-9a-z]{8,10}-[0-9a-z]{5}\b"
)
"""Harmless texts that look like keys: ids, digests, the ends of wheel names, and names of pods."""
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Yield a state folder, whose service ends with the test."""
    yield tmp_path / "home"
    local.stop(tmp_path / "home")


def notebook_environment(folder: Path, ours: dict[str, str]) -> dict[str, str]:
    """Return the environment of notebooks: our settings, separate Jupyter folders, and nothing of the user's."""
    found = jupyter_environment(folder / "jupyter", ours)
    return {name: value for name, value in found.items() if name in ours or not name.startswith(("MLMGMT_", "PYTEST_"))}


def _run(
    folder: Path, folders: list[Path], kernel: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the notebooks in some folders of a folder, two at a time, and compare their outputs."""
    options = ("--nbval", "--nbval-kernel-name", kernel, "--nbval-sanitize-with", str(RULES))
    patient = ("--nbval-cell-timeout", "300", "--nbval-kernel-startup-timeout", "300")
    two = ("-n", "2", "--dist", "loadfile") if len(folders) > 1 else ()
    # Without our settings, which would shuffle the cells, and few plug-ins: some load longer than a notebook runs.
    plugins = (
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
        "-p",
        "nbval.plugin",
        "-p",
        "xdist.plugin",
    )
    command = (sys.executable, "-m", "pytest", "-q", *plugins, *two, *options, *patient, *map(str, folders))
    environment = {**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=900)


def run_and_check(
    notebooks: list[Path], folder: Path, environment: dict[str, str], services: Callable[[], list[Any]]
) -> None:
    """Run notebooks on the newest kernel, in CI those with widgets on the older one again, and check the results.

    Each has a separate folder, because a driver uses the `service_schema.json` next to it, which may belong to another.
    """
    for notebook in notebooks:
        (folder / notebook.stem).mkdir()
        shutil.copy(notebook, folder / notebook.stem)
    assert notebooks
    # The first plot searches for fonts, and reports that if it takes long.
    subprocess.run((sys.executable, "-c", "import matplotlib.font_manager"), check=True, capture_output=True)
    for version in reversed(VERSIONS):
        again = [path.stem for path in notebooks if version == VERSIONS[-1] or path.stem in WITH_WIDGETS]
        if not again:
            continue
        done = _run(folder, [folder / name for name in again], f"ipykernel-{version}", environment)
        assert done.returncode == 0, done.stdout + done.stderr
        left = {path.name for path in folder.rglob("*") if path.is_file()}
        assert left == {notebook.name for notebook in notebooks}
        assert services() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder where the notebooks run."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


@pytest.mark.timeout(2000)
def test_they_run_show_what_is_committed_and_clean_up(home: Path, folder: Path, tmp_path: Path) -> None:
    local.ensure(home)
    wanted = {path.stem for path in NOTEBOOKS} - {DOCKER, REMOTE, KUBERNETES} if IN_CI else set(FIRST)
    notebooks = [notebook for notebook in NOTEBOOKS if notebook.stem in wanted]
    environment = notebook_environment(
        tmp_path, {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(tmp_path / "config.toml")}
    )
    run_and_check(notebooks, folder, environment, lambda: list(connect(home=home).services.list()))


@long_search
@pytest.mark.timeout(1000)
def test_the_one_of_docker(engine: Any, home: Path, folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    ours = {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(config), "MLMGMT_BASE_IMAGE": BASE}
    notebooks = [notebook for notebook in NOTEBOOKS if notebook.stem == DOCKER]
    run_and_check(
        notebooks, folder, notebook_environment(tmp_path, ours), lambda: list(connect(home=home).services.list())
    )
    assert not engine.containers(all=True, filters={"label": f"mlmgmt-nb.home={(home / 'id').read_text()}"})
    assert Config(config, {}).settings({})["compute"].source == "default"


@long_search
@pytest.mark.timeout(1000)
def test_the_one_of_a_remote_account(folder: Path, tmp_path: Path) -> None:
    notebooks = [notebook for notebook in NOTEBOOKS if notebook.stem == REMOTE]
    with team(tmp_path) as there:
        before = there.config.read_text()
        run_and_check(notebooks, folder, notebook_environment(tmp_path, there.environment), there.services)
        assert there.config.read_text() == before
        shown = "".join(path.read_text() for path in folder.rglob("*.ipynb"))
        assert there.secret not in shown + before


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_read_well_without_a_kernel_and_have_nothing_private(notebook: Path) -> None:
    import nbformat

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
