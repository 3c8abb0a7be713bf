"""Binder with this project: the plan of repo2docker, and its commands in a fresh folder; no image is built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.components import missing
from tests.support.searches import long_search

ROOT = Path(__file__).parents[2]
DETECT = """
import json
from repo2docker.app import Repo2Docker
packs = (kind("docker.io/library/buildpack-deps:jammy") for kind in Repo2Docker().buildpacks)
pack = next(pack for pack in packs if pack.detect())
pack.platform = "linux/amd64"
pip = [script for _, script in pack.get_assemble_scripts() if "requirements.txt" in script]
found = {"kind": type(pack).__name__, "folder": pack.binder_dir, "python": pack.python_version, "pip": pip}
print(json.dumps({**found, "post": pack.get_post_build_scripts(), "dockerfile": pack.render({})}))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the files of the project, as a clone would have them."""
    folder = tmp_path_factory.mktemp("clone")
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


def environment(folder: Path, *packages: str, cwd: Path) -> Path:
    """Return the programs of a fresh virtual environment with some packages."""
    subprocess.run(("uv", "venv", "--quiet", "--python", sys.executable, str(folder)), check=True)
    command = ("uv", "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode and "Could not connect" in done.stderr:
        missing("the package index", "connect this machine to one")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def detected(clone: Path, folder: Path) -> dict[str, Any]:
    programs = environment(folder, "jupyter-repo2docker", "setuptools", cwd=clone)
    command = (str(programs / "python"), "-c", DETECT)
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(600)
@long_search
def test_repo2docker_understands_each_file(clone: Path, tmp_path: Path) -> None:
    found = detected(clone, tmp_path / "environment")
    assert (found["kind"], found["folder"]) == ("PythonBuildPack", "binder")
    assert found["python"] == "3.12"
    # Only after the project was copied, because it is installed.
    assert len(found["pip"]) == 1
    assert found["post"] == ["binder/postBuild"]
    assert "binder/postBuild" in found["dockerfile"]
    known = {"requirements.txt", "runtime.txt", "postBuild"}
    assert {path.name for path in (clone / "binder").iterdir()} == {*known, "badges.py"}


@pytest.mark.timeout(600)
@long_search
def test_its_environment_resolves_and_the_last_step_runs(clone: Path, tmp_path: Path) -> None:
    version = (clone / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    compiled = ("uv", "pip", "compile", "--quiet", "--python-version", version, "binder/requirements.txt")
    resolved = subprocess.run(compiled, cwd=clone, capture_output=True, text=True)
    assert resolved.returncode == 0, resolved.stderr
    assert {"scikit-learn", "matplotlib", "jupyterlab"} <= {line.partition("==")[0] for line in resolved.stdout.split()}

    programs = environment(tmp_path / "environment", "-r", "binder/requirements.txt", cwd=clone)
    ours = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "PYTHON"))} | ours
    done = subprocess.run((str(clone / "binder" / "postBuild"),), cwd=clone, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check = "import nbformat.sign as s, nbformat, glob, mlmgmt_nb; n = s.NotebookNotary(); "
    check += "print(all(n.check_signature(nbformat.read(p, 4)) for p in glob.glob('notebooks/*.ipynb')))"
    trusted = subprocess.run(
        (str(programs / "python"), "-c", check), cwd=clone, env=kept, capture_output=True, text=True
    )
    assert trusted.stdout.strip() == "True", trusted.stderr


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("https://github.com/someone/models.git", "/v2/gh/someone/models/main"),
        ("https://git.example.org/a/b/", "/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fb/main"),
    ],
)
def test_badges_open_a_notebook_that_is_there(address: str, where: str) -> None:
    command = (sys.executable, "binder/badges.py", address)
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    opened = urlsplit(printed[0].rpartition("(")[2].rstrip(")"))
    assert opened.path == where
    (notebook,) = parse_qs(opened.query)["labpath"]
    assert (ROOT / notebook).is_file()
    colab = [line for line in printed if line.startswith("[![Colab]")]
    assert bool(colab) == ("github.com" in address)
    assert all(line.endswith(f"/github/someone/models/blob/main/{notebook})") for line in colab)


def test_no_badges_for_what_is_no_address() -> None:
    done = subprocess.run((sys.executable, "binder/badges.py", "models"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "give https://HOST/OWNER/NAME" in done.stderr
