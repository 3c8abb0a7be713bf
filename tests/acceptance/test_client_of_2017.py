"""The command-line client of 2017, unmodified, against our service: from a model to an answer of its service.

It runs on Python 3.6 with the packages of its time. Azure sign-in and storage are replaced at the HTTP boundary.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema
from tests.conftest import ServiceProcess
from tests.support.azure_2017 import azure, sign_in
from tests.support.environments import interpreter, make_environment

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
}
SUMS = {"standard": 3.0}
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


@pytest.fixture
def az(client_python: Path, service: ServiceProcess, tmp_path: Path) -> Iterator[Az]:
    """Run a command of the client in its folder; return what it printed."""
    home = tmp_path / "home"
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
                cwd=tmp_path,
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


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_steps(kind: str, az: Az, tmp_path: Path) -> None:
    data_type, sample, result = KINDS[kind]
    (tmp_path / "score.py").write_text(DRIVER.replace("RESULT", result))
    (tmp_path / "model.json").write_text('{"factor": 1}')
    generate_schema(lambda x: x, {"x": SampleDefinition(data_type, sample)}, filepath=tmp_path / "schema.json")
    body = json.dumps({"x": json.loads((tmp_path / "schema.json").read_text())["input"]["x"]["swagger"]["example"]})

    model = found_id(az("model", "register", "-m", "model.json", "-n", "model.json", "-t", "old", "-d", "a model"))
    assert model in az("model", "show", "-m", model)
    assert model in az("model", "show", "-m", "model.json", "-t", "old")
    assert model in az("model", "list")

    files = ["-f", "score.py", "-s", "schema.json", "-r", "python"]
    manifest = found_id(az("manifest", "create", "-n", f"manifest{kind}", *files, "-i", model))
    assert manifest in az("manifest", "show", "-i", manifest)
    assert manifest in az("manifest", "list")

    image = found_id(az("image", "create", "-n", f"image{kind}", "--manifest-id", manifest), "Image ID: ")
    assert image in az("image", "show", "-i", image)
    assert image in az("image", "list")
    az("image", "usage", "-i", image)

    name = f"svc{kind}"
    created = az("service", "create", "realtime", "-n", name, "--image-id", image, "-z", "1")
    service = found_id(created, "Service ID: ")
    assert service in az("service", "show", "realtime", "-i", service)
    assert service in az("service", "list", "realtime")
    assert str(SUMS[kind]) in az("service", "run", "realtime", "-i", service, "-d", body)
