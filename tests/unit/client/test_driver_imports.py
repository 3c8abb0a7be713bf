"""The modules that a driver is going to import are found without running it, and none too early."""

from __future__ import annotations

import collections
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlmgmt_nb.client.applications.application import Application
from mlmgmt_nb.client.deploying.driver_imports import pickled_modules, preloadable_modules


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "score.py"


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression()))
    return str(path)


IN_MODEL = "sklearn.linear_model._logistic"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import torch\nimport numpy as np, pandas\n", ["torch", "numpy", "pandas", IN_MODEL]),
        ('"""A driver."""\nfrom __future__ import annotations\nimport json\nimport numpy', ["numpy", IN_MODEL]),
        ("from xgboost import core\n", ["xgboost", "xgboost.core", IN_MODEL]),
        ("from xgboost import *\nimport xgboost\n", ["xgboost", IN_MODEL]),
        ("import json\n", [IN_MODEL]),
        # An import after another statement is left to the driver.
        ("import numpy\nX = 1\nimport torch\n", ["numpy", IN_MODEL]),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\n", [IN_MODEL]),
        ("def init():\n    import torch\n", [IN_MODEL]),
        # So are the packages of the model, if the driver may change what they do.
        ("import os\nimport numpy\nos.environ['OMP_NUM_THREADS'] = '1'\nimport torch\n", ["numpy"]),
        ("def init():\n    from os import putenv\n    putenv('A', '1')\n", []),
        ("import dotenv\nfrom dotenv import load_dotenv\nload_dotenv()\n", ["dotenv", "dotenv.load_dotenv"]),
        ("import sys\nsys.path.insert(0, 'more')\n", []),
        # A file of the application may do anything, and hides a package of its name.
        ("import numpy\nimport helpers\nimport torch\n", ["numpy"]),
        ("import numpy\nfrom folder.part import x\nimport torch\n", ["numpy"]),
        ("def init():\n    import helpers\n", []),
        ("from . import x\nimport torch\n", [IN_MODEL]),
        ("import not python\n", []),
        ("x = " + "+".join(["1"] * 20_000), []),
        ("import numpy\nimport módulo\n", ["numpy", IN_MODEL]),
        ("\0", []),
        ("", [IN_MODEL]),
    ],
)
def test_imports_of_a_driver(driver: Path, model: str, code: str, expected: list[str]) -> None:
    Path("helpers.py").write_text("import os\n")
    Path("folder").mkdir()
    Path("folder/part.py").write_text("x = 1\n")
    driver.write_text(code)
    application = Application(driver=driver, dependencies=["helpers.py", "folder"])
    assert preloadable_modules(application, [model, "https://example.org/model.pkl", object()]) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"driver": "https://example.org/score.py"},
        {"driver": "missing.py"},
        {"requirements": ["numpy"]},
        {"conda": "environment.yml"},
        {"runtime": "spark-py"},
    ],
)
def test_a_driver_whose_imports_are_not_known_or_not_of_this_python(
    driver: Path, model: str, fields: dict[str, Any]
) -> None:
    driver.write_text("import numpy\n")
    assert preloadable_modules(Application(**{"driver": driver, **fields}), [model]) == []


def test_odd_names_in_a_pickle_are_left_out(driver: Path, tmp_path: Path) -> None:
    driver.write_text("import numpy\n")
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02c__main__\nModel\ncno module\nX\nctorch.nn\nX\ncm\xc3\xb6del\nX\n.")
    assert preloadable_modules(Application(driver=driver), [str(path)]) == ["numpy", "torch.nn"]


def test_only_frameworks_are_imported_because_a_pickle_names_them(driver: Path, tmp_path: Path) -> None:
    """Others may set up logging, draw random numbers or end the process, before the driver's own code runs."""
    driver.write_text("import logging\nlogging.basicConfig(level='INFO')\n")
    path = tmp_path / "model.pkl"
    named = ("team_models", "numpy.f2py.__main__", "sklearn.svm", "sklearnish", "logging.config", "pandas")
    path.write_bytes(b"\x80\x02" + b"".join(f"c{name}\nX\n".encode() for name in named) + b".")
    assert preloadable_modules(Application(driver=driver), [str(path)]) == ["sklearn.svm", "pandas"]


VALUE: Any = [collections.Counter("abca"), Fraction(1, 3), collections.Counter("x"), "os", Path("x")]
MODULES = {"collections", "fractions", "pathlib"}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_modules_of_a_pickle(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(VALUE, protocol))
    assert set(pickled_modules(str(path))) == MODULES


def test_modules_of_what_other_tools_write(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    model = LogisticRegression().fit(np.arange(2_000.0).reshape(1_000, 2), np.arange(1_000) % 2)
    joblib.dump(model, path)
    assert IN_MODEL in set(pickled_modules(str(path)))
    path.write_bytes(cloudpickle.dumps(lambda: Fraction(1, 3)))
    assert {"fractions", "cloudpickle.cloudpickle"} <= set(pickled_modules(str(path)))
    path.write_bytes(pickle.dumps([np.zeros(2**20), Fraction(1, 3)]))
    found = set(pickled_modules(str(path)))
    assert {name.partition(".")[0] for name in found} == {"numpy"}, "the rest is not read"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x04",
        b"\x80\x04\x93",
        b"\x80\x04h\x05\x93.",
        b"\x80\x04" + b"\xff" * 100,
        b"PK\x03\x04" * 1_000,
        b"not a pickle",
        b"\x80\x04" + b"N0" * 50_000 + b"cfractions\nFraction\n.",
    ],
)
def test_files_that_are_not_pickles_have_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    assert [name for name in pickled_modules(str(path)) if name] == []


def test_a_file_that_cannot_be_read_has_none(tmp_path: Path) -> None:
    assert list(pickled_modules(str(tmp_path))) == []
    assert list(pickled_modules(str(tmp_path / "missing"))) == []
