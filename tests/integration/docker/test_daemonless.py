"""Images that are built without a Docker engine: what they contain, and that an engine runs them."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ServiceProcess, mlmgmt
from tests.integration.docker.helpers import (
    SAYS,
    ask_for_image,
    build,
    build_log,
    closed_registry,
    remove_image,
    score,
    serve,
)
from tests.support.engine import Registry, write_base
from tests.support.package_index import build_backend, package_index, source_archive, wheel
from tests.support.searches import long_search
from tests.unit.service.test_oci import tar, write_layout

NO_ENGINE = "unix:///nowhere/docker.sock"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the base image, as an OCI folder."""
    folder = tmp_path_factory.mktemp("base")
    write_base(folder)
    return folder


@pytest.fixture(scope="module")
def daemonless(base: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Yield a service that builds without an engine, although one is there, and pushes to the registry."""
    home: Path = tmp_path_factory.mktemp("daemonless") / "home"
    options = ("--base-image", str(base), "--registry", f"{registry.host}/team", "--image-builder", "daemonless")
    service = ServiceProcess(home, *options, "--start-timeout", "60")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def image(daemonless: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return an image with a requirement, a model and a driver that uses both."""
    folder = tmp_path_factory.mktemp("driver")
    (folder / "score.py").write_text(
        "import os, six, sys\nfrom azureml.core.model import Model\n\ndef init():\n    global model\n"
        "    model = open(Model.get_model_path('iris')).read()\n\n"
        "def run(body):\n    return [model, os.getuid(), six.__file__, sys.prefix, os.path.expanduser('~')]\n"
    )
    wanted = tmp_path_factory.mktemp("wanted") / "requirements.txt"
    wanted.write_text("six\n")
    model = tmp_path_factory.mktemp("model") / "model.bin"
    model.write_text("a model")
    registered = daemonless.model(url=model.as_uri())
    return build(daemonless, folder, "without", registered["id"], pipRequirements=wanted.as_uri())


def built_of(service: ServiceProcess, image: Any) -> Any:
    return service.get(f"/images/{image['id']}/docker")


def test_an_engine_runs_it(engine: Any, daemonless: ServiceProcess, image: Any, name: str) -> None:
    """The engine pulls it by its digest. It runs as an image of the engine's own would."""
    built = built_of(daemonless, image)
    made = serve(daemonless, image, name)
    path = "/mlmgmt/environment"
    library = f"{path}/lib/python3.11/site-packages/six.py"
    model, user, module, prefix, home = score(daemonless, made)
    assert (model, user, prefix, home) == ("a model", 1000, path, "/home/mlmgmt")
    assert module.replace("3.12", "3.11").replace("3.13", "3.11") == library
    seen = engine.inspect_image(built["imageId"])
    assert seen["Config"]["Labels"]["mlmgmt.manifest"] == image["manifest"]["id"]
    assert seen["Config"]["User"] == "1000:1000"
    daemonless.request("DELETE", f"/services/{made['id']}")


def test_the_same_manifest_gives_the_same_digest(daemonless: ServiceProcess, image: Any) -> None:
    again = daemonless.operation(ask_for_image(daemonless, image["manifest"]["id"], "again"), timeout=120)
    second = daemonless.get("/images/" + again["resourceLocation"].rpartition("/")[2])
    assert built_of(daemonless, second)["digest"] == built_of(daemonless, image)["digest"]
    reused = [line for line in build_log(daemonless, second).splitlines() if line.endswith(", reused")]
    assert [line.partition(":")[0] for line in reused] == ["layer of packages", "layer of scoring runtime"]
    assert built_of(daemonless, second)["reused"] == ["packages", "scoring runtime"]
    assert daemonless.get(f"/images/{second['id']}")["docker"] == built_of(daemonless, second)
    # The registry shares the layers between both repositories.
    assert "pushed 0.0 MiB" in build_log(daemonless, second)


def test_only_what_changed_is_sent(
    daemonless: ServiceProcess, write_driver: Callable[..., Path], tmp_path: Path, image: Any
) -> None:
    """A new driver beside the same packages and a model of 8 MiB is a push of kilobytes."""
    model = tmp_path / "large.bin"
    model.write_bytes(bytes(range(256)) * 2**15)
    registered = daemonless.model(name="large", url=model.as_uri())
    first = build(daemonless, write_driver(SAYS.format(word="first"), "first"), "changing", registered["id"])
    second = build(daemonless, write_driver(SAYS.format(word="second"), "second"), "changing", registered["id"])
    assert "layer of models: 8.0 MiB" in build_log(daemonless, first)
    assert "pushed 0.0 MiB" in build_log(daemonless, second)
    assert built_of(daemonless, first)["digest"] != built_of(daemonless, second)["digest"]


def test_the_manifest_is_in_the_registry(daemonless: ServiceProcess, registry: Registry, image: Any) -> None:
    built = built_of(daemonless, image)
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    answer = requests.get(f"http://{registry.host}/v2/team/without/manifests/1", headers=accept, timeout=10)
    assert answer.headers["Docker-Content-Digest"] == built["digest"]
    manifest = answer.json()
    assert len(manifest["layers"]) == 5  # base, packages, runtime, models, application
    config = requests.get(
        f"http://{registry.host}/v2/team/without/blobs/{manifest['config']['digest']}", timeout=10
    ).json()
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 5


def test_what_is_in_it(daemonless: ServiceProcess, image: Any) -> None:
    """The bill of materials follows its schema, and names packages with hashes, the model, and the base image."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    archive = daemonless.request("GET", f"/images/{image['id']}/oci").content
    text = _file_of(archive, "mlmgmt/sbom.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    by_name = {each["name"]: each for each in components}
    assert by_name["iris"]["type"] == "machine-learning-model"
    assert len(by_name["six"]["externalReferences"][0]["hashes"][0]["content"]) == 64
    assert {"mlmgmt-nb", "uvicorn"} <= set(by_name)
    assert next(each for each in components if each["type"] == "container")["version"].startswith("sha256:")
    assert "mlmgmt:x:1000:" in _file_of(archive, "etc/passwd")
    assert "root:x:0:" in _file_of(archive, "etc/passwd")


def _file_of(archive: bytes, name: str) -> str:
    """Return the text of a file in the highest layer of an OCI archive that has it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:

        def read(path: str) -> bytes:
            file = outer.extractfile(path)
            assert file is not None
            return file.read()

        (saved,) = json.loads(read("manifest.json"))
        for path in reversed(saved["Layers"]):
            with tarfile.open(fileobj=io.BytesIO(read(path))) as layer:
                if name in layer.getnames():
                    file = layer.extractfile(name)
                    assert file is not None
                    return file.read().decode()
    raise AssertionError(f"no layer has {name}")


@pytest.fixture
def alone(base: Path, start_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """Return a service without an engine and without a registry."""
    return start_service("--base-image", str(base), environment={"DOCKER_HOST": NO_ENGINE})


def test_without_any_engine(
    engine: Any,
    alone: ServiceProcess,
    base: Path,
    write_driver: Callable[..., Path],
    tmp_path: Path,
    name: str,
    start_service: Callable[..., ServiceProcess],
) -> None:
    """Check that `docker load` takes the export, that it can be a base image, and that a later engine runs it."""
    image = build(alone, write_driver(SAYS.format(word="alone")), name)
    assert "pushed" not in build_log(alone, image)
    archive = tmp_path / "image.tar"
    archive.write_bytes(alone.request("GET", f"/images/{image['id']}/oci").content)
    with archive.open("rb") as file:
        list(engine.load_image(file))
    built = built_of(alone, image)
    assert engine.inspect_image(built["reference"])["Id"] == built["imageId"]
    remove_image(engine, built)
    refused = alone.request(
        "POST",
        "/services",
        json={"name": name, "imageId": image["id"], "computeResource": {"id": "docker", "type": "Cluster"}},
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "NoEngine")

    # The engine starts; the service loads the image into it.
    alone.stop()
    alone.environment.pop("DOCKER_HOST")
    alone.start()
    made = serve(alone, image, name)
    assert score(alone, made) == ["alone", 1000]
    alone.request("DELETE", f"/services/{made['id']}")

    on_top = start_service("--base-image", str(archive), "--image-builder", "daemonless", home=tmp_path / "second-home")
    second = build(on_top, write_driver(SAYS.format(word="on top"), "second"), f"{name}-on-top")
    assert built_of(on_top, second)["base"] == str(archive)


def test_upkeep(
    alone: ServiceProcess,
    write_driver: Callable[..., Path],
    tmp_path: Path,
    start_service: Callable[..., ServiceProcess],
) -> None:
    """Check that images are checked, backed up, restored and removed with their layers."""
    image = build(alone, write_driver(SAYS.format(word="kept")), "kept")
    built = built_of(alone, image)
    exported = alone.request("GET", f"/images/{image['id']}/oci").content
    at_home = ("--home", alone.home)
    assert "nothing is missing" in mlmgmt("check", *at_home)
    mlmgmt("backup", tmp_path / "backup.tar", *at_home)
    blobs = alone.home / "oci" / "blobs"
    (blobs / built["manifest"].removeprefix("sha256:")).unlink()
    assert f"image 'kept' version {image['version']}" in mlmgmt("check", *at_home, code=1)

    mlmgmt("restore", tmp_path / "backup.tar", "--home", tmp_path / "restored")
    restored = start_service(home=tmp_path / "restored", environment={"DOCKER_HOST": NO_ENGINE})
    assert restored.request("GET", f"/images/{image['id']}/oci").content == exported

    there = ("--home", restored.home, "--older-than", "0", "--delete")
    removed = mlmgmt("gc", *there)
    assert f"kept version {image['version']}" in removed
    assert built["manifest"].removeprefix("sha256:") in removed
    assert list((restored.home / "oci" / "blobs").iterdir()) == []


@long_search
def test_a_private_index(
    base: Path,
    start_service: Callable[..., ServiceProcess],
    write_driver: Callable[..., Path],
    tmp_path: Path,
    uv_cache: Path,
) -> None:
    """Packages come from the index of `--pip-config`; its password is in no log and in no layer."""
    wheel(tmp_path / "index" / "ours", "ours", "1.0", "private")
    wanted, config = tmp_path / "requirements.txt", tmp_path / "pip.conf"
    wanted.write_text("ours\n")
    with package_index(tmp_path / "index", "someone:canary-password") as url:
        config.write_text(f"[global]\nextra-index-url = {url}\n")
        options = ("--base-image", str(base), "--image-builder", "daemonless", "--pip-config", str(config))
        api = start_service(*options, environment={"UV_CACHE_DIR": str(uv_cache)})
        driver = write_driver("import ours\ndef init(): pass\ndef run(body): return ours.WHAT\n")
        image = build(api, driver, "private", pipRequirements=wanted.as_uri())
    archive = api.request("GET", f"/images/{image['id']}/oci").content
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert "private" in _file_of(archive, f"mlmgmt/environment/lib/{version}/site-packages/ours.py")
    assert "canary-password" not in build_log(api, image)
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        for entry in outer.getmembers():
            content = outer.extractfile(entry)
            assert content is not None
            data = content.read()
            assert b"canary-password" not in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data), entry.name


@long_search
def test_a_registry_that_asks_who_it_is(
    base: Path, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    """Push with a credential helper of Docker's configuration; without it, the push is refused."""
    with closed_registry(tmp_path) as (closed, configuration, environment):
        options = ("--base-image", str(base), "--registry", closed.host, "--image-builder", "daemonless")
        api = start_service(*options, environment=environment)
        folder = write_driver(SAYS.format(word="known"))
        ended = api.operation(ask_for_image(api, api.manifest(folder)["id"], "closed"), timeout=120)
        assert ended["error"]["code"] == "RegistryRefused"
        assert f"docker login {closed.host}" in ended["error"]["message"]
        configuration.write_text(json.dumps({"credHelpers": {closed.host: "canary"}}))
        image = build(api, folder, "closed")
        assert "canary-secret" not in build_log(api, image)
        # It is a base image for another service, which pulls it.
        reference = f"{closed.host}/closed@{built_of(api, image)['digest']}"
        on_top = start_service(
            "--base-image",
            reference,
            "--image-builder",
            "daemonless",
            environment=environment,
            home=tmp_path / "on-top",
        )
        assert "pulling sha256:" in build_log(on_top, build(on_top, folder, "on-top"))


def test_a_package_without_a_wheel_for_the_python_of_the_base_image(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path
) -> None:
    other = "3.11" if sys.version_info[:2] != (3, 11) else "3.12"
    files = (
        (f"usr/bin/python{other}", ""),
        ("usr/bin/python3->", f"python{other}"),
        (f"usr/lib/python{other}/os.py", ""),
    )
    write_layout(tmp_path / "base", tar(*files))
    source_archive(tmp_path / "index" / "sourced", "sourced", "1.0", "source", "our_backend")
    build_backend(tmp_path / "index" / "our-backend", "our_backend")
    wanted = tmp_path / "requirements.txt"
    with package_index(tmp_path / "index") as url:
        wanted.write_text(f"--extra-index-url {url}\nsourced\n")
        api = start_service("--base-image", str(tmp_path / "base"), "--image-builder", "daemonless")
        manifest = api.manifest(write_driver(SAYS.format(word="x")), properties={"pipRequirements": wanted.as_uri()})
        ended = api.operation(ask_for_image(api, manifest["id"], "sourced"), timeout=60)
    assert ended["error"]["code"] == "NeedsEngine", ended
    assert f"sourced==1.0: no wheel exists for Python {other}" in ended["error"]["message"]


@pytest.mark.parametrize("flags", [("--image-builder", "podman"), ()])
def test_an_unknown_builder(flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLMGMT_IMAGE_BUILDER", "podman")
    said = mlmgmt("serve", "--home", tmp_path / "home", *flags, code=1)
    assert "'podman' is not known" in said
    assert "auto, engine, daemonless" in said


def test_what_needs_an_engine(alone: ServiceProcess, write_driver: Callable[..., Path], tmp_path: Path) -> None:
    conda = tmp_path / "conda.yml"
    conda.write_text("dependencies:\n- mkl\n")
    cases: list[tuple[dict[str, str], dict[str, Any], str]] = [
        ({"condaEnvFile": conda.as_uri()}, {}, "needs a Docker engine"),
        ({}, {"targetRuntime": {"runtimeType": "SparkPython", "properties": {}}}, "no java in its PATH"),
    ]
    for properties, more, said in cases:
        manifest = alone.manifest(
            write_driver(SAYS.format(word="x"), f"driver-{said[:2]}"), properties=properties, **more
        )
        ended = alone.operation(ask_for_image(alone, manifest["id"], "refused"), timeout=60)
        assert (ended["state"], ended["error"]["code"]) == ("Failed", "NeedsEngine"), ended
        assert said in ended["error"]["message"]


@pytest.mark.parametrize(
    ("base_image", "message"),
    [
        ("localhost:1/team/python:3", "localhost:1"),
        ("/nowhere/base.tar", "/nowhere/base.tar cannot be read: No such file or directory"),
    ],
)
def test_a_base_image_that_is_not_there(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], base_image: str, message: str
) -> None:
    api = start_service("--base-image", base_image, environment={"DOCKER_HOST": NO_ENGINE})
    manifest = api.manifest(write_driver(SAYS.format(word="x")))
    ended = api.operation(ask_for_image(api, manifest["id"], "refused"), timeout=60)
    assert ended["state"] == "Failed"
    assert message in ended["error"]["message"], ended
