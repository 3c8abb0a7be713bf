"""Exported images, remote or missing engines, and leftovers of crashes."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import requests
from filelock import FileLock

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.commands import main
from mlmgmt_nb.errors import ConflictError
from tests.conftest import ServiceProcess
from tests.integration.docker.helpers import (
    SAYS,
    ask_for_image,
    build,
    build_log,
    containers,
    remove_image,
    score,
    serve,
)
from tests.integration.service.drivers import under_load
from tests.support.components import missing
from tests.support.engine import BASE, EngineProcess
from tests.support.package_index import wheel
from tests.support.searches import long_search
from tests.support.waiting import eventually


@pytest.fixture
def workspace(service: ServiceProcess) -> Iterator[Workspace]:
    with connect(base_url=service.base_url, token=service.token, compute="docker") as workspace:
        yield workspace


def by_hand(engine: Any, image: str) -> Any:
    """Return the response of a container that runs without a service."""
    host = engine.create_host_config(port_bindings={5001: ("127.0.0.1", None)})
    container = engine.create_container(image, ports=[5001], host_config=host)["Id"]
    try:
        engine.start(container)
        port = engine.inspect_container(container)["NetworkSettings"]["Ports"]["5001/tcp"][0]["HostPort"]

        def answer() -> Any:
            try:
                return requests.post(f"http://127.0.0.1:{port}/score", data="1", timeout=10).json()
            except requests.ConnectionError:
                return None

        return eventually(answer, 120, "the answer of the container")
    finally:
        engine.remove_container(container, force=True)


class TestExport:
    def test_an_oci_archive_is_loaded_and_run_by_hand(
        self, workspace: Workspace, engine: Any, image: Any, tmp_path: Path
    ) -> None:
        built = workspace.images.docker(image["id"])
        archive = workspace.images.export_oci(image["id"], tmp_path / "out.tar")
        listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True).stdout.split()
        assert {"oci-layout", "index.json"} <= set(listed)
        index = json.loads(
            subprocess.run(["tar", "-xOf", archive, "index.json"], capture_output=True, check=True).stdout
        )
        manifest = index["manifests"][0]["digest"].removeprefix("sha256:")
        assert f"blobs/sha256/{manifest}" in listed
        remove_image(engine, {"imageId": built.image_id})
        with archive.open("rb") as file:
            told = "".join(str(event) for event in engine.load_image(file))
        assert built.reference in told
        assert engine.inspect_image(built.reference)["Id"] == built.image_id
        assert by_hand(engine, built.reference) == ["first", 1000]

    def test_a_build_context_is_built_by_hand(
        self, workspace: Workspace, engine: Any, image: Any, tmp_path: Path
    ) -> None:
        folder = workspace.images.export_context(image["id"], tmp_path / "out")
        assert (folder / "Dockerfile").read_text().startswith(f"FROM {BASE}\n")
        assert (folder / "app" / "model.bin").read_bytes() == b"a model"
        made = ""
        for event in engine.build(path=str(folder), rm=True, decode=True):
            assert "error" not in event, event
            made = event.get("aux", {}).get("ID", made)
        assert by_hand(engine, made) == ["first", 1000]
        engine.remove_image(made, force=True)

    def test_usage_tells_how(self, service: ServiceProcess, image: Any, capsys: Any, tmp_path: Path) -> None:
        built = service.get(f"/images/{image['id']}/docker")
        where = ["--base-url", service.base_url]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("MLMGMT_TOKEN", service.token)
            assert main(["image", "usage", "-i", image["id"], *where]) == 0
            told = capsys.readouterr().out
            assert image["imageLocation"] in told
            assert built["digest"] in told
            assert "docker run --rm -p 127.0.0.1:5001:5001 " in told
            assert main(["image", "export", "-i", image["id"], "--context", str(tmp_path / "out"), *where]) == 0
            assert (tmp_path / "out" / "requirements.txt").exists()
            assert main(["image", "export", "-i", image["id"], *where]) == 2
            assert "--context" in capsys.readouterr().err
            assert main(["image", "export", "-i", image["id"], "--context", str(tmp_path), *where]) == 2
            assert "not an empty folder" in capsys.readouterr().err
            assert main(["env", "list", "-o", "json", *where]) == 0
            listed = {row["id"]: row["state"] for row in json.loads(capsys.readouterr().out)}
            assert listed == {"docker": "ready", "local": "ready"}
            environment.setenv("MLMGMT_CONFIG", str(tmp_path / "config.toml"))
            assert main(["env", "docker", *where]) == 0
            assert "'docker'" in capsys.readouterr().out

    def test_an_image_of_local_compute(
        self,
        service: ServiceProcess,
        workspace: Workspace,
        write_driver: Callable[..., Path],
        tmp_path: Path,
        name: str,
    ) -> None:
        local = service.image(write_driver(SAYS.format(word="x")), name=name)
        with pytest.raises(ConflictError, match="built for compute local"):
            workspace.images.export_oci(local["id"], tmp_path / "out.tar")
        assert not list(tmp_path.glob("*out.tar*"))
        assert (workspace.images.export_context(local["id"], tmp_path / "out") / "Dockerfile").exists()
        with pytest.raises(ConflictError, match="built for compute 'local'"):
            workspace.services.create(name, local["id"])


def test_from_python(workspace: Workspace, write_driver: Callable[..., Path], name: str) -> None:
    folder = write_driver("def init(): pass\ndef run(body): return 'deployed'\n")
    made = workspace.deploy(name, driver=folder / "score.py")
    assert made.compute_resource.id == "docker"
    assert workspace.services.run(made, [1]) == "deployed"
    workspace.services.delete(made)


@long_search
@pytest.mark.timeout(600)
def test_a_fitted_object(workspace: Workspace, name: str) -> None:
    """The container has what was measured here, and nothing else, and gives the same answers."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"age": [1.0, 2.0, 8.0, 9.0], "dose": [0.25, 1.0, 0.0, 1.5]})
    model = LogisticRegression().fit(rows, ["low", "low", "high", "high"])
    made = workspace.deploy(name, model=model, sample=rows, method="predict_proba")
    # The last bit depends on how the rows lie in memory.
    answer = pytest.approx(model.predict_proba(rows).ravel().tolist(), rel=1e-12)
    assert [value for row in workspace.services.run(made, rows) for value in row] == answer
    workspace.services.delete(made)


def test_a_driver_that_takes_too_much_memory_or_lacks_a_package(
    service: ServiceProcess, write_driver: Callable[..., Path], name: str
) -> None:
    greedy = "def init():\n    global kept\n    kept = bytearray(400 * 2**20)\n\ndef run(body): pass\n"
    image = build(service, write_driver(greedy), name)
    docker = {"id": "docker", "type": "Cluster"}
    created = service.create(
        image["id"], name, computeResource=docker, containerResourceReservation={"memory": "150Mi"}
    )
    ended = service.operation(created)
    assert ended["error"]["code"] == "OutOfMemory"
    assert "157,286,400 bytes" in ended["error"]["message"]

    lacking = build(service, write_driver("import pandas\ndef run(body): pass\n", "other"), name)
    ended = service.operation(service.create(lacking["id"], f"{name}-b", computeResource=docker))
    assert "No module named 'pandas'" in ended["error"]["message"]


def test_collected_data_comes_back(service: ServiceProcess, write_driver: Callable[..., Path], name: str) -> None:
    collects = (
        "from azureml.datacollector import ModelDataCollector\n"
        "def init():\n    global inputs\n    inputs = ModelDataCollector('model.bin', identifier='inputs')\n\n"
        "def run(body):\n    inputs.collect([1, 2])\n    return 1\n"
    )
    image = build(service, write_driver(collects), name)
    made = serve(service, image, name, dataCollection={"storageEnabled": True})
    assert service.score(made, "1").status_code == 200
    files = eventually(lambda: service.get(f"/services/{made['id']}/data")["value"], what="the collected data")
    assert files[0]["identifier"] == "inputs"
    service.request("DELETE", f"/services/{made['id']}")


def test_an_engine_elsewhere_is_forwarded_to(
    start_service: Callable[..., ServiceProcess], engine: Any, write_driver: Callable[..., Path], name: str
) -> None:
    """Check engines like Docker Desktop, whose containers cannot receive the socket: updates lose no request."""
    api = start_service("--base-image", BASE, environment={"MLMGMT_DOCKER_FORWARD": "1"})
    made = serve(api, build(api, write_driver(SAYS.format(word="here")), name), name)
    ports = engine.inspect_container(containers(engine, api)[0]["Id"])["NetworkSettings"]["Ports"]
    assert ports["5001/tcp"][0]["HostIp"] == "127.0.0.1"
    other = build(api, write_driver(SAYS.format(word="there"), "other"), name)
    with under_load(api, made, keep=True) as wrong:
        update = api.request("PUT", f"/services/{made['id']}", json={"imageId": other["id"]})
        assert api.operation(update)["state"] == "Succeeded"
        assert score(api, made)[0] == "there"
    assert not wrong


def test_a_crash_of_the_service_leaves_nothing_behind(
    start_service: Callable[..., ServiceProcess], engine: Any, write_driver: Callable[..., Path], name: str
) -> None:
    api = start_service("--base-image", BASE)
    made = serve(api, build(api, write_driver(SAYS.format(word="x")), name), name)
    old = {one["Id"] for one in containers(engine, api)}
    api.kill()
    eventually(lambda: not containers(engine, api, ended=False), what="the end of the containers")
    api.start()
    eventually(lambda: _answers(api, made), what="the service on its old URL")
    eventually(lambda: not old & {one["Id"] for one in containers(engine, api)}, what="the end of the old containers")


def test_a_build_that_is_given_up_leaves_no_container(
    start_service: Callable[..., ServiceProcess], engine: Any, write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    api = start_service("--base-image", BASE)
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("scikit-learn\n")
    manifest = api.manifest(write_driver("x"), properties={"pipRequirements": wanted.as_uri()})
    accepted = ask_for_image(api, manifest["id"], "given-up")
    prefix = f"mlmgmt-build-{(api.home / 'id').read_text()}-"

    def of_builds(**more: Any) -> list[Any]:
        found: list[Any] = engine.containers(filters={"name": f"^/{prefix}"}, **more)
        return found

    eventually(lambda: any("install.py" in one["Command"] for one in of_builds()), 90, "the installation")
    api.kill()
    with contextlib.closing(sqlite3.connect(api.home / "mlmgmt.db")) as database, database:
        database.execute("UPDATE operations SET attempts = 3")
    # Other processes may use the folder, at other places in it: one does here, and one did.
    others = [f"{prefix}{place}-000000000000-x" for place in (5, 6)]
    for other in others:
        engine.create_container(BASE, name=other)
    assert len(of_builds(all=True)) == 3
    with FileLock(api.home / "service-5.lock"):
        api.start()
        operation = "/operations/" + accepted.headers["Operation-Location"].rpartition("/")[2]
        ended = eventually(lambda: _if_ended(api, operation), what="the end of the build")
        assert (ended["state"], ended["error"]["code"]) == ("Failed", "Interrupted"), ended
        eventually(lambda: [one["Names"] for one in of_builds(all=True)] == [[f"/{others[0]}"]], what="the others' end")
    engine.remove_container(others[0])


def _if_ended(api: ServiceProcess, operation: str) -> Any:
    seen = api.get(operation)
    return seen if seen["state"] not in {"NotStarted", "Running"} else None


def _answers(api: ServiceProcess, made: Any) -> bool:
    try:
        return api.score(made, "1").status_code == 200
    except requests.ConnectionError:
        return False


def test_without_an_engine(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    nowhere = f"unix://{tmp_path}/none.sock"
    api = start_service("--image-builder", "engine", environment={"DOCKER_HOST": nowhere})
    manifest = api.manifest(write_driver(SAYS.format(word="x")))
    request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "docker"}
    answer = api.request("POST", "/images", json=request)
    assert answer.status_code == 409
    error = answer.json()
    assert error["code"] == "NoEngine"
    assert nowhere in error["message"]
    assert "apt-get install docker.io" in error["message"]
    assert "`local` works without" in error["message"]
    with connect(home=api.home) as workspace:
        states = {compute["id"]: compute["state"] for compute in workspace.computes()}
    assert states == {"local": "ready", "docker": "unavailable"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLMGMT_CONFIG", str(tmp_path / "config.toml"))
        assert main(["env", "set", "-i", "docker", "--home", str(api.home)]) == 2
    assert not (tmp_path / "config.toml").exists()


MICROMAMBA = """\
#!/usr/local/bin/python3
import subprocess, sys
assert sys.argv[1] == "create" and "nothing-for-pip" in open(sys.argv[sys.argv.index("--file") + 1]).read()
prefix = sys.argv[sys.argv.index("--prefix") + 1]
subprocess.run([sys.executable, "-m", "venv", "--copies", prefix], check=True)
"""
"""Create an environment as the real tool does; conda channels are not available here."""


@long_search
def test_packages_of_conda(
    engine_process: EngineProcess,
    service: ServiceProcess,
    engine: Any,
    write_driver: Callable[..., Path],
    tmp_path: Path,
    name: str,
) -> None:
    if engine_process.process is None:
        missing("an engine of the tests' own", "stop the one that runs")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("bin/micromamba")
        entry.size, entry.mode = len(MICROMAMBA), 0o755
        tar.addfile(entry, io.BytesIO(MICROMAMBA.encode()))
    engine.import_image_from_data(archive.getvalue(), repository="mambaorg/micromamba", tag="2")
    wanted = tmp_path / "environment.yml"
    wanted.write_text("dependencies: [nothing-for-pip]\n")
    driver = write_driver("import sys\ndef init(): pass\ndef run(body): return sys.prefix\n")
    image = build(service, driver, name, condaEnvFile=wanted.as_uri())
    assert "--> conda packages" in build_log(service, image)
    made = serve(service, image, name)
    assert score(service, made) == "/opt/conda"
    service.request("DELETE", f"/services/{made['id']}")


def test_the_engine_restarts_and_an_image_is_gone(
    engine_process: EngineProcess,
    start_service: Callable[..., ServiceProcess],
    engine: Any,
    write_driver: Callable[..., Path],
    name: str,
) -> None:
    if engine_process.process is None:
        missing("an engine of the tests' own", "stop the one that runs")
    api = start_service("--base-image", BASE)
    image = build(api, write_driver(SAYS.format(word="x")), name)
    made = serve(api, image, name)
    engine_process.stop()
    eventually(lambda: (api.get(f"/services/{made['id']}")["error"] or {}).get("code"), 60, "the service's error")
    engine_process.start()
    eventually(lambda: _answers(api, made), 120, "the service, after the engine came back")

    built = api.get(f"/images/{image['id']}/docker")
    remove_image(engine, built)

    def image_is_gone() -> bool:
        # Its containers use it, and new ones are started until it is removed.
        for one in containers(engine, api, ended=False):
            with contextlib.suppress(docker.errors.APIError):
                engine.remove_container(one["Id"], force=True)
        with contextlib.suppress(docker.errors.APIError):
            engine.remove_image(built["imageId"], force=True)
        return not any(one["Id"] == built["imageId"] for one in engine.images(all=True))

    eventually(image_is_gone, 60, "the end of the image")

    def told() -> bool:
        error = api.get(f"/services/{made['id']}")["error"] or {}
        return "no longer on the Docker engine" in error.get("message", "")

    eventually(told, 60, "the service's error")


def test_files_that_were_sent(
    service: ServiceProcess, write_driver: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """Check a wheel, and a folder with packages; other packages come from the resolved URLs."""
    sent = wheel(tmp_path / "sent", "sent", "1.0", "sent")
    found = wheel(tmp_path / "wheels", "found", "1.0", "found")
    with tarfile.open(tmp_path / "wheels.tar", "w") as tar:
        tar.add(found.parent, "wheels")
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(f"--find-links ./packages/2/wheels\n./packages/1/{sent.name}\nfound\nsix\n")
    files = [
        {"id": "packages/1", "url": sent.as_uri(), "mimeType": "application/zip"},
        {
            "id": "packages/2",
            "url": (tmp_path / "wheels.tar").as_uri(),
            "mimeType": "application/x-tar",
            "unpack": True,
        },
    ]
    folder = write_driver("import six, sent, found\ndef init(): pass\ndef run(body): return [sent.WHAT, found.WHAT]\n")
    driver = [{"id": "score.py", "url": (folder / "score.py").as_uri(), "mimeType": "text/plain"}]
    properties = {"pipRequirements": wanted.as_uri()}
    manifest = service.manifest(folder, name=name, properties=properties, assets=driver + files)
    ended = service.operation(ask_for_image(service, manifest["id"], name), timeout=170)
    assert ended["state"] == "Succeeded", ended
    image = service.get("/images/" + ended["resourceLocation"].rpartition("/")[2])
    made = serve(service, image, name)
    assert score(service, made) == ["sent", "found"]
    service.request("DELETE", f"/services/{made['id']}")
