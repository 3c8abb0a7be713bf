"""The HTTP interface with and without the fast path, and with the oldest uvicorn that is allowed."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn
from packaging.requirements import Requirement
from packaging.version import Version
from uv import find_uv_bin

from tests.support.searches import long_search

ROOT = Path(__file__).parents[3]
TESTS = ("tests/unit/scoring/test_connection.py", "tests/integration/scoring/test_http.py")
MINUTES = 20


def allowed_uvicorn() -> Requirement:
    lines = importlib.metadata.requires("mlmgmt-nb") or []
    return next(found for found in map(Requirement, lines) if found.name == "uvicorn" and found.marker is None)


def oldest_uvicorn() -> Version:
    return min(Version(bound.version) for bound in allowed_uvicorn().specifier if bound.operator == ">=")


def test_the_installed_uvicorn_is_within_both_bounds() -> None:
    bounds = allowed_uvicorn().specifier
    assert {bound.operator for bound in bounds} == {">=", "<"}
    assert uvicorn.__version__ in bounds


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the oldest allowed uvicorn, to precede the installed one on the path."""
    folder = tmp_path_factory.mktemp("uvicorn")
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    subprocess.run([*command, "--target", str(folder), f"uvicorn=={oldest_uvicorn()}"], check=True)
    return folder


def run_tests(*path: Path, **variables: str) -> None:
    environment = os.environ | variables | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    # In one process: the other core has tests of its own to run.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=MINUTES * 60)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_the_oldest_uvicorn_is_the_one_that_is_found_first(oldest: Path) -> None:
    code = "import uvicorn; print(uvicorn.__version__)"
    environment = os.environ | {"PYTHONPATH": str(oldest)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Version(found.stdout) == oldest_uvicorn()


@long_search
@pytest.mark.timeout(MINUTES * 60)
def test_http_with_the_oldest_uvicorn(oldest: Path) -> None:
    run_tests(oldest, SCORING_FAST_PATH="1")


@long_search
@pytest.mark.timeout(MINUTES * 60)
def test_http_without_the_fast_path() -> None:
    run_tests(SCORING_FAST_PATH="0")
