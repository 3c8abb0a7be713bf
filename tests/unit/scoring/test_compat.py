"""Imports of 2017 to 2024: every stand-in imports, an original that works wins, one that does not gives way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.scoring.application.model_files import ModelNotFoundError, find_model, recorded_model
from mlmgmt_nb.scoring.application.variables import read_variables
from mlmgmt_nb.scoring.compat import unavailable
from mlmgmt_nb.scoring.compat.table import EXPORTS


def _run(code: str, folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(code)
    command = [sys.executable, *(before or ("-m", "mlmgmt_nb.scoring.compat")), "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_every_name_imports(tmp_path: Path) -> None:
    lines = [f"import {module}" for module in EXPORTS] + [
        f"from {module} import {name.partition('=')[0]}"
        for module, sources in EXPORTS.items()
        for names in sources.values()
        for name in (["AnyName"] if names == ["*"] else names)
    ]
    done = _run("\n".join(lines), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_plain_script_with_one_line(tmp_path: Path) -> None:
    line = "from mlmgmt_nb.schema import install_azureml_imports; install_azureml_imports()\n"
    done = _run(line + "from azureml.core.model import Model; print(Model.__name__)", tmp_path, "-B")
    assert done.stdout == "Model\n"


def test_originals(tmp_path: Path) -> None:
    core = tmp_path / "azureml" / "core"
    core.mkdir(parents=True)
    (tmp_path / "azureml" / "__init__.py").write_text("")
    (core / "__init__.py").write_text("from azureml.core import model\nimport pkg_resources_of_old\n")
    (core / "model.py").write_text("Model = 'theirs'\n")
    (tmp_path / "azureml" / "logging.py").write_text("get_azureml_logger = 'theirs'\n")
    code = (
        "from azureml.logging import get_azureml_logger\nfrom azureml.core import Workspace\n"
        "from azureml.core.model import Model\nprint(get_azureml_logger, Model, Workspace)"
    )
    done = _run(code, tmp_path)
    assert done.stdout.startswith("theirs <class 'mlmgmt_nb.")
    assert "azureml.core is installed but cannot be imported (ModuleNotFoundError" in done.stderr


def test_what_is_not_available_says_what_to_do() -> None:
    stand_in: Any = unavailable.__getattr__("Workspace")
    for use in (stand_in, lambda: stand_in.from_config()):
        with pytest.raises(unavailable.NotAvailableError, match=r"Workspace.*AZUREML_MODEL_DIR"):
            use()


def test_models_by_name(tmp_path: Path) -> None:
    for version in ("2", "10"):
        (tmp_path / "azureml-models" / "m" / version).mkdir(parents=True)
        (tmp_path / "azureml-models" / "m" / version / "x.pkl").touch()
    (tmp_path / "azureml-models" / "m" / "2" / "y.pkl").touch()
    assert find_model("m", root=tmp_path) == str(tmp_path / "azureml-models/m/10/x.pkl")
    assert find_model("m", 2, tmp_path) == str(tmp_path / "azureml-models/m/2")
    missing: list[tuple[str, int | None]] = [("m", 3), ("n", None)]
    for name, number in missing:
        with pytest.raises(ModelNotFoundError, match="Its models: m"):
            find_model(name, number, tmp_path)


def test_models_in_collected_data_by_name_or_file() -> None:
    iris, other = {"id": "1", "path": "azureml-models/iris/1/model.pkl"}, {"id": "2"}
    config = {"models": {"iris": iris, "other": other}}
    assert recorded_model(config, "model.pkl") == recorded_model(config, "iris") == ("iris", iris)
    assert recorded_model(config, "other") == ("other", other)
    assert recorded_model(config, "x.pkl") == ("x.pkl", {})


def test_variables(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\n\nA=1\nB= x=y \n")
    assert read_variables(["A=2", "C="], [tmp_path / "env"]) == {"A": "2", "B": " x=y ", "C": ""}
    (tmp_path / "env").write_text("A=1\n1 SECRET\n")
    with pytest.raises(ValueError, match=r"env, line 2: '1 SECRET' is not NAME=VALUE"):
        read_variables(files=[tmp_path / "env"])
