"""Bytecode of environments: packages have it before a replica starts, but not their tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.bytecode import compile_packages


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return a folder like an environment's, with a package, its tests, and a template that is no Python."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    for name, text in {"one/part.py": "x = 1\n", "one/tests/case.py": "x = 1\n", "one/template.py": "{{ x }\n"}.items():
        path = tmp_path / "lib" / "site-packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def compiled(environment: Path) -> list[str]:
    return [path.name.partition(".")[0] for path in environment.rglob("*.pyc")]


def test_packages_are_compiled_without_their_tests(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    compile_packages(environment, Cancellation({}))
    assert compiled(environment) == ["part"]


def test_a_cancelled_build_ends(environment: Path) -> None:
    cancellation = Cancellation({})
    cancellation.cancel()
    with pytest.raises(BuildError, match="cancelled"):
        compile_packages(environment, cancellation)
