"""Builds with more than files: environments, archives, schemas, other URLs."""

from __future__ import annotations

import http.server
import io
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServiceProcess


@pytest.fixture
def requirements(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "requirements.txt"
        path.write_text(text)
        return path.as_uri()

    return write


def fails(api: ServiceProcess, folder: Path, **properties: str) -> Any:
    manifest = api.manifest(folder, properties=properties)
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
    ended = api.operation(api.request("POST", "/images", json=request))
    assert ended["state"] == "Failed", ended
    return ended["error"]


SIX = (
    "import six, sys\ndef init():\n    pass\n"
    "def run(body):\n    return {'six': six.__version__, 'python': sys.prefix}\n"
)


class TestEnvironments:
    def test_requirements_get_an_environment_of_their_own(
        self, api: Any, write_driver: Callable[..., Path], requirements: Callable[[str], str], name: str
    ) -> None:
        url = requirements("six==1.16.0  # the last but one\n")
        folder = write_driver(SIX)
        image = api.image(folder, properties={"pipRequirements": url})
        answer = api.score(api.service(image["id"], name), "1").json()
        assert answer["six"] == "1.16.0"
        assert answer["python"].startswith(str(api.home / "environments"))
        lock = (api.home / "images" / image["id"] / "requirements.txt").read_text()
        assert "six==1.16.0" in lock
        assert "uvicorn==" in lock
        again = api.image(folder, properties={"pipRequirements": url})
        assert "created earlier for the same requirements" in api.log(again["imageBuildLogUri"])

    def test_requirements_that_cannot_be_installed(
        self, api: Any, write_driver: Callable[..., Path], requirements: Callable[[str], str]
    ) -> None:
        error = fails(api, write_driver(SIX), pipRequirements=requirements("six==0.0.0.1\n"))
        assert error["code"] == "RequirementsFailed"
        assert "six" in error["message"]

    def test_conda_packages(self, api: Any, write_driver: Callable[..., Path], tmp_path: Path) -> None:
        (tmp_path / "conda.yml").write_text("dependencies:\n- cudatoolkit=10.1\n- libgcc-ng\n- python=2.7\n")
        error = fails(api, write_driver(SIX), condaEnvFile=(tmp_path / "conda.yml").as_uri())
        assert error["code"] == "PythonVersion"
        assert all(word in error["message"] for word in ("cudatoolkit=10.1", "libgcc-ng", "python=2.7", "--any-python"))

    def test_the_interpreter_of_the_notebook(self, api: Any, write_driver: Callable[..., Path], name: str) -> None:
        source = "import sys\ndef init():\n    pass\ndef run(body):\n    return sys.executable\n"
        folder = write_driver(source)
        image = api.image(folder, properties={"pythonInterpreter": sys.executable})
        assert api.score(api.service(image["id"], name), "1").json() == sys.executable
        error = fails(api, folder, pythonInterpreter="/no/such/python")
        assert error["code"] == "BadInterpreter"
        assert "/no/such/python" in error["message"]


class TestContents:
    def test_an_archive_is_unpacked_beside_the_driver(
        self, api: Any, write_driver: Callable[..., Path], tmp_path: Path, name: str
    ) -> None:
        with tarfile.open(tmp_path / "weights.tar.gz", "w:gz") as tar:
            member = tarfile.TarInfo("weights/one.txt")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"one"))
        model = api.model(name, (tmp_path / "weights.tar.gz").as_uri(), unpack=True)
        source = "def init():\n    pass\ndef run(body):\n    return open('weights/one.txt').read()\n"
        image = api.image(write_driver(source), model["id"])
        assert api.score(api.service(image["id"], name), "1").json() == "one"

    def test_two_files_of_one_name(self, api: Any, write_driver: Callable[..., Path], tmp_path: Path) -> None:
        (tmp_path / "score.py").write_text("x")
        model = api.model("m", (tmp_path / "score.py").as_uri())
        manifest = api.manifest(write_driver("def run(body): pass\n"), model["id"])
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = api.operation(api.request("POST", "/images", json=request))
        assert ended["error"]["code"] == "SameName"
        assert "'score.py'" in ended["error"]["message"]

    @pytest.mark.parametrize("url", ["model.pkl", "ftp://127.0.0.1/x", "http://127.0.0.1:9/x", "file:///nowhere/x"])
    def test_urls_that_cannot_be_read(self, api: Any, write_driver: Callable[..., Path], url: str) -> None:
        model = api.model("m", url)
        manifest = api.manifest(write_driver("def run(body): pass\n"), model["id"])
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = api.operation(api.request("POST", "/images", json=request))
        assert ended["state"] == "Failed"
        assert "model 'm'" in ended["error"]["message"]

    @pytest.mark.parametrize(
        ("arguments", "url", "said"),
        [
            (("--url-scheme", "https"), "file:///etc/hostname", "Allowed: https"),
            (("--url-host", "models.example"), "http://127.0.0.1:9/x", "host '127.0.0.1'"),
        ],
    )
    def test_a_shared_service_reads_only_what_it_may(
        self,
        start_service: Callable[..., ServiceProcess],
        write_driver: Callable[..., Path],
        arguments: tuple[str, str],
        url: str,
        said: str,
    ) -> None:
        api = start_service(*arguments)
        manifest = api.manifest(write_driver("def run(body): pass\n"), api.model("m", url)["id"])
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = api.operation(api.request("POST", "/images", json=request))
        assert ended["error"]["code"] == "BadUrl"
        assert said in ended["error"]["message"]

    def test_a_model_from_a_web_server_and_no_signature_in_the_log(
        self, api: Any, write_driver: Callable[..., Path], tmp_path: Path, web: str, name: str
    ) -> None:
        (tmp_path / "web" / "weights.txt").write_text("42")
        model = api.model(name, f"{web}/weights.txt?sig=canary")
        source = "def init():\n    pass\ndef run(body):\n    return open('weights.txt').read()\n"
        image = api.image(write_driver(source), model["id"])
        assert api.score(api.service(image["id"], name), "1").json() == 42
        missing = api.model(name, f"{web}/missing.txt?sig=canary")
        manifest = api.manifest(write_driver(source, "other"), missing["id"])
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = api.operation(api.request("POST", "/images", json=request))
        assert "missing.txt" in ended["error"]["message"]
        logs = [path.read_text() for path in (api.home / "logs" / "builds").rglob("*.log")]
        assert not [log for log in logs if "canary" in log]
        assert "canary" not in ended["error"]["message"]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Yield a web server for the folder `web`."""
    (tmp_path / "web").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_environment_variables_of_a_worker(api: Any, write_driver: Callable[..., Path], name: str) -> None:
    source = "import os\ndef init():\n    pass\ndef run(body):\n    return dict(os.environ)\n"
    service = api.service(
        api.image(write_driver(source))["id"],
        name,
        dataCollection={"storageEnabled": True},
        containerResourceReservation={"cpu": "500m"},
    )
    seen = api.score(service, "1").json()
    assert seen["SERVICE_NAME"] == name
    assert seen["SERVICE_PATH_PREFIX"] == f"/api/v1/service/{name}"
    assert int(seen["SERVICE_VERSION"]) >= 1
    assert seen["AML_APP_INSIGHTS_ENABLED"] == "false"
    assert seen["AML_MODEL_DC_STORAGE_ENABLED"] == "true"
    assert seen["OMP_NUM_THREADS"] == "1"
    marks = {"MLMGMT_OWNER", "MLMGMT_REPLICA"}  # identify its child processes; not secret
    assert {variable for variable in seen if variable.startswith("MLMGMT_")} == marks
