"""The original packages, in an environment of their own, with the NumPy and pandas that we have."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.environments import make_environment

ORIGINALS = ["inference-schema==1.8", "azureml-inference-server-http==1.5.1"]


@pytest.fixture(scope="session")
def original_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment with the originals."""
    same = [f"{name}=={version(name)}" for name in ("numpy", "pandas", "werkzeug")]
    return make_environment(tmp_path_factory, "originals", sys.executable, [*ORIGINALS, *same])
