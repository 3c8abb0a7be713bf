"""The command-line client of 2017, unmodified, against our service: from a model to an answer of its service.

It runs on Python 3.6 with the packages of its time. Azure sign-in and storage are replaced at the HTTP boundary.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema
from tests.conftest import ServiceProcess
from tests.support.azure_2017 import azure, sign_in
from tests.support.environments import interpreter, make_environment
from tests.support.searches import long_search

CLIENT = [
    *("azure-cli-ml==0.1.0a27.post3", "azure-cli-core==2.0.20", "azure-cli-command-modules-nspkg"),
    "azure-mgmt-authorization",  # `azure-cli` brought it
]
OF_ITS_TIME = ["--prerelease", "allow", "--exclude-newer", "2017-12-20"]
BUILD_TOOLS = ["--exclude-newer-package", "setuptools=2021-12-01", "--exclude-newer-package", "wheel=2021-12-01"]

DRIVER = """
import json

def init():
    global factor
    with open("model.json") as file:
        factor = json.load(file)["factor"]

def run(x):
    return json.dumps({"sum": float(RESULT) * factor})
"""
KINDS: dict[str, tuple[DataTypes, Any, str]] = {
    "standard": (DataTypes.STANDARD, [1, 2], "sum(x)"),
    "pandas": (DataTypes.PANDAS, pd.DataFrame({"a": [1, 2]}), "x['a'].sum()"),
    "numpy": (DataTypes.NUMPY, np.array([1, 2]), "x.sum()"),
}
SAMPLES = {"pandas": r'"{\"x\": [{\"a\": 1}, {\"a\": 2}]}"', "numpy": r'"{\"x\": [1, 2]}"'}
Az = Callable[..., str]


@pytest.fixture(scope="module")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of the client. Its packages are built from source, which takes minutes the first time."""
    return make_environment(tmp_path_factory, "client-2017", interpreter("3.6"), CLIENT, *OF_ITS_TIME, *BUILD_TOOLS)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Yield a service in which the cluster of 2017 is the local compute."""
    process = ServiceProcess(tmp_path_factory.mktemp("service") / "home", sqlite=True)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the client runs, with the files of each kind of schema."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "model.json").write_text('{"factor": 2}')
    for kind, (data_type, sample, result) in KINDS.items():
        (folder / f"score_{kind}.py").write_text(DRIVER.replace("RESULT", result))
        generate_schema(
            lambda x: x, {"x": SampleDefinition(data_type, sample)}, filepath=folder / f"schema_{kind}.json"
        )
    return folder


@pytest.fixture(scope="module")
def az(client_python: Path, service: ServiceProcess, folder: Path) -> Iterator[Az]:
    """Run a command of the client in its folder; return what it printed."""
    home = folder / "home"
    sign_in(home, service.base_url, service.token)
    script = Path(__file__).parent / "client_2017" / "az.py"
    with azure() as url:
        environment = {
            **os.environ,
            "HOME": str(home),
            "AZURE_CONFIG_DIR": str(home / ".azure"),
            "MLMGMT_TEST_AZURE": url,
            "AZURE_CORE_COLLECT_TELEMETRY": "no",
            "LC_ALL": "C.UTF-8",
        }

        def run(*arguments: str, code: int = 0) -> str:
            done = subprocess.run(
                [str(client_python), "-W", "ignore", str(script), "ml", *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        yield run


def found_id(printed: str, words: str = "Id: ") -> str:
    found = re.search(re.escape(words) + r"([\w.:-]+)", printed)
    assert found, printed
    return found[1]


@long_search
@pytest.mark.timeout(900)
def test_each_step(az: Az) -> None:
    model = found_id(az("model", "register", "-m", "model.json", "-n", "model.json", "-t", "old", "-d", "a model"))
    assert model in az("model", "show", "-m", model)
    assert model in az("model", "show", "-m", "model.json", "-t", "old")
    assert model in az("model", "list")

    files = ["-f", "score_standard.py", "-s", "schema_standard.json", "-r", "python"]
    manifest = found_id(az("manifest", "create", "-n", "manifest1", *files, "-i", model))
    assert manifest in az("manifest", "show", "-i", manifest)
    assert manifest in az("manifest", "list")

    image = found_id(az("image", "create", "-n", "image1", "--manifest-id", manifest), "Image ID: ")
    assert image in az("image", "show", "-i", image)
    assert image in az("image", "list")
    az("image", "usage", "-i", image)

    created = az("service", "create", "realtime", "-n", "svc1", "--image-id", image, "-z", "1")
    service = found_id(created, "Service ID: ")
    assert service in az("service", "show", "realtime", "-i", service)
    assert service in az("service", "list", "realtime")
    assert "{'sum': 10.0}" in az("service", "run", "realtime", "-i", service, "-d", '{"x": [2, 3]}')

    keys = az("service", "keys", "realtime", "-i", service)
    regenerated = az("service", "keys", "realtime", "-i", service, "--regen", "--key", "primary")
    changed = [name for name in ("Primary", "Secondary") if key(keys, name) != key(regenerated, name)]
    assert changed == ["Primary"]
    update = ["--autoscale-enabled", "true", "--autoscale-min-replicas", "1", "--autoscale-max-replicas", "2"]
    assert service in az("service", "update", "realtime", "-i", service, "--image-id", image, *update)
    assert "{'sum': 6.0}" in az("service", "run", "realtime", "-i", service)

    assert "needs to be provided" in az("service", "logs", "realtime", "-i", service, code=1)  # it asks Kubernetes
    assert "swagger" in az("account", "modelmanagement", "show")
    az("service", "delete", "realtime", "-i", service)
    assert service not in az("service", "list", "realtime")


def key(printed: str, name: str) -> str:
    return found_id(printed, f"{name}Key: ")


@long_search
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["pandas", "numpy"])
def test_all_steps_in_one(kind: str, az: Az) -> None:
    """The sample that `service run` sends comes from the description that the wrapped driver has of itself."""
    files = ["-m", "model.json", "-f", f"score_{kind}.py", "-s", f"schema_{kind}.json", "-r", "python"]
    service = found_id(az("service", "create", "realtime", "-n", f"svc{kind}", *files), "Service ID: ")
    assert SAMPLES[kind] in az("service", "usage", "realtime", "-i", service)
    ran = az("service", "run", "realtime", "-i", service)
    assert (SAMPLES[kind] in ran, "{'sum': 6.0}" in ran) == (True, True), ran
