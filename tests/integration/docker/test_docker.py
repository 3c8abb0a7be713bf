"""Images and services on a Docker engine, from the build to the export."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
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
    containers,
    remove_image,
    score,
    serve,
)
from tests.integration.service.drivers import under_load
from tests.support.engine import BASE, Registry
from tests.support.package_index import package_index, wheel
from tests.support.waiting import eventually


class TestVariables:
    def test_they_reach_the_driver_and_the_engine_shows_no_secret(
        self, service: ServiceProcess, engine: Any, write_driver: Callable[..., Path], name: str
    ) -> None:
        driver = "import json, os\n\ndef run(body):\n    return [os.environ.get(name) for name in json.loads(body)]\n"
        image = build(service, write_driver(driver), name)
        made = serve(service, image, name, environment={"A": "1"}, secrets={"TOKEN": "hunter2"})
        assert (made["environment"], made["secrets"]) == ({"A": "1"}, ["TOKEN"])
        assert service.score(made, '["A", "TOKEN"]').json() == ["1", "hunter2"]
        for container in containers(engine, service):
            assert "hunter2" not in json.dumps(engine.inspect_container(container["Id"]))
        with under_load(service, made, body='["A"]') as wrong:
            body = {"environment": {"A": None}, "secrets": {"TOKEN": "rotated"}}
            ended = service.operation(service.request("PUT", f"/services/{made['id']}", json=body))
        assert (ended["state"], wrong) == ("Succeeded", [])
        assert service.score(made, '["A", "TOKEN"]').json() == [None, "rotated"]
        service.request("DELETE", f"/services/{made['id']}")


class TestBuild:
    def test_built_and_pushed(self, service: ServiceProcess, engine: Any, registry: Registry, image: Any) -> None:
        assert image["imageLocation"] == f"{registry.host}/first:{image['version']}"
        built = service.get(f"/images/{image['id']}/docker")
        manifest = requests.get(
            f"http://{registry.host}/v2/first/manifests/{image['version']}",
            headers={"accept": "application/vnd.docker.distribution.manifest.v2+json"},
            timeout=30,
        )
        assert manifest.headers["docker-content-digest"] == built["digest"]
        seen = engine.inspect_image(built["imageId"])["Config"]
        assert seen["User"] == "1000:1000"
        assert "5001" in str(seen["Healthcheck"]["Test"])
        labels = seen["Labels"]
        assert labels["mlmgmt.manifest"] == image["manifest"]["id"]
        assert labels["mlmgmt.models"] == f"iris:1={image['manifest']['modelIds'][0]}"
        assert labels["mlmgmt.account"].endswith("/default")
        log = build_log(service, image)
        assert "--> pip packages" in log
        assert "iniconfig==" in (service.home / "images" / image["id"] / "requirements.txt").read_text()
        assert "Step 1/" in log

    def test_only_what_changed_is_built_and_the_same_is_the_same(
        self, service: ServiceProcess, engine: Any, image: Any, write_driver: Callable[..., Path], tmp_path: Path
    ) -> None:
        again = service.operation(ask_for_image(service, image["manifest"]["id"], "first"))
        second = service.get("/images/" + again["resourceLocation"].rpartition("/")[2])
        first, same = (service.get(f"/images/{one['id']}/docker") for one in (image, second))
        assert (first["imageId"], first["digest"]) == (same["imageId"], same["digest"])
        assert first["reference"] != same["reference"]

        wanted = tmp_path / "requirements.txt"
        wanted.write_text("iniconfig\n")
        changed = build(service, write_driver(SAYS.format(word="x")), "changed", pipRequirements=wanted.as_uri())
        log = build_log(service, changed)
        assert "the packages installed earlier for the same requirements" in log
        assert "--> pip packages" not in log
        layers = [
            engine.inspect_image(service.get(f"/images/{one['id']}/docker")["imageId"])["RootFS"]["Layers"]
            for one in (image, changed)
        ]
        shared = [a == b for a, b in zip(*layers, strict=True)]
        assert shared == [*[True] * (len(shared) - 1), False]

    def test_the_same_from_nothing(self, service: ServiceProcess, engine: Any, image: Any) -> None:
        """Check that installing and building the same input again, later, produces the same digest."""
        first = service.get(f"/images/{image['id']}/docker")
        installed = re.search(r"FROM (mlmgmt/requirements:\w+)", build_log(service, image))
        assert installed is not None
        layers = engine.inspect_image(installed[1])
        engine.remove_image(installed[1], force=True)
        again = service.operation(ask_for_image(service, image["manifest"]["id"], "first"), timeout=170)
        third = service.get("/images/" + again["resourceLocation"].rpartition("/")[2])
        assert "--> pip packages" in build_log(service, third)
        assert "Using cache" not in build_log(service, third)
        clone = engine.inspect_image(installed[1])
        assert clone["Id"] != layers["Id"]
        assert clone["RootFS"] == layers["RootFS"]
        assert service.get(f"/images/{third['id']}/docker")["digest"] == first["digest"]

    def test_a_failing_build_says_where_and_why(
        self, service: ServiceProcess, write_driver: Callable[..., Path], tmp_path: Path, name: str
    ) -> None:
        wanted = tmp_path / "requirements.txt"
        wanted.write_text("no-such-package-of-anybody==99\n")
        manifest = service.manifest(write_driver("x"), name=name, properties={"pipRequirements": wanted.as_uri()})
        ended = service.operation(ask_for_image(service, manifest["id"], name))
        assert ended["state"] == "Failed"
        assert ended["error"]["code"] == "RequirementsFailed"
        assert "no-such-package-of-anybody" in ended["error"]["message"]
        assert any(detail["code"] == "Log" for detail in ended["error"]["details"])

    def test_a_step_that_fails_in_the_engine_and_secrets(
        self,
        engine: Any,
        start_service: Callable[..., ServiceProcess],
        write_driver: Callable[..., Path],
        tmp_path: Path,
        name: str,
    ) -> None:
        """Check that the password of a package index is used, and is in no layer, no history and no log."""
        config = tmp_path / "pip.conf"
        wheel(tmp_path / "index" / "here", "here", "1.0", "x")
        wanted = tmp_path / "requirements.txt"
        wanted.write_text("here\n")
        with package_index(tmp_path / "index", "user:canary-password") as index:  # the container does not reach it
            config.write_text(f"[global]\nextra-index-url = {index}\nretries = 0\n")
            api = start_service("--base-image", BASE, "--pip-config", str(config))
            folder = write_driver(SAYS.format(word="x"))
            manifest = api.manifest(folder, name=name, properties={"pipRequirements": wanted.as_uri()})
            ended = api.operation(ask_for_image(api, manifest["id"], name), timeout=120)
        assert ended["state"] == "Failed"
        assert "step 'pip packages' failed" in ended["error"]["message"]
        failed = api.log(ended["resourceLocation"] + "/buildLog")
        assert "127.0.0.1" in failed
        assert "canary-password" not in failed + json.dumps(ended)

        config.write_text("# canary-password\n")
        wanted.write_text("toolz\n")  # which no other test has: the engine keeps installed packages
        image = build(api, write_driver(SAYS.format(word="y"), "other"), name, pipRequirements=wanted.as_uri())
        built = api.get(f"/images/{image['id']}/docker")
        saved = b"".join(engine.get_image(built["imageId"]))
        assert b"mlmgmt_nb/scoring" in saved
        assert b"canary-password" not in saved
        assert "canary-password" not in build_log(api, image)
        assert image["imageLocation"] == f"mlmgmt/{name}:2"
        installed = re.search(r"FROM (mlmgmt/requirements:\w+)", build_log(api, image))
        assert installed is not None
        engine.remove_image(installed[1], force=True)

    def test_cancelled(
        self, service: ServiceProcess, engine: Any, write_driver: Callable[..., Path], tmp_path: Path, name: str
    ) -> None:
        wanted = tmp_path / "requirements.txt"
        wanted.write_text("scikit-learn\n")
        manifest = service.manifest(write_driver("x"), name=name, properties={"pipRequirements": wanted.as_uri()})
        accepted = ask_for_image(service, manifest["id"], name)
        building = {"name": "^/mlmgmt-build-"}

        def installing() -> bool:
            return any("install.py" in one["Command"] for one in engine.containers(filters=building))

        eventually(installing, 90, what="the installation")
        answer = service.request("POST", accepted.headers["Operation-Location"] + "/cancel")
        assert answer.json()["state"] == "Cancelled"
        eventually(lambda: not engine.containers(all=True, filters=building), what="the end of the container")

    def test_a_base_image_without_python(
        self, engine: Any, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], name: str
    ) -> None:
        empty = io.BytesIO()
        with tarfile.open(fileobj=empty, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("nothing"))
        engine.import_image_from_data(empty.getvalue(), repository="mlmgmt-test/empty", tag="1")
        api = start_service("--base-image", "mlmgmt-test/empty:1")
        manifest = api.manifest(write_driver("x"), name=name)
        ended = api.operation(ask_for_image(api, manifest["id"], name))
        assert ended["error"]["code"] == "BadBaseImage"
        assert "mlmgmt-test/empty:1" in ended["error"]["message"]

    def test_a_registry_that_asks_who_it_is(
        self,
        engine: Any,
        start_service: Callable[..., ServiceProcess],
        write_driver: Callable[..., Path],
        tmp_path: Path,
        name: str,
    ) -> None:
        """Push and pull with a credential helper of Docker's configuration; without it, both are refused."""
        with closed_registry(tmp_path) as (closed, configuration, environment):
            api = start_service("--base-image", BASE, "--registry", closed.host, environment=environment)
            manifest = api.manifest(write_driver(SAYS.format(word="known")), name=name)
            ended = api.operation(ask_for_image(api, manifest["id"], name), timeout=120)
            assert ended["error"]["code"] == "PushFailed"
            configuration.write_text(json.dumps({"credHelpers": {closed.host: "canary"}}))
            image = build(api, tmp_path / "driver", name)
            built = api.get(f"/images/{image['id']}/docker")
            remove_image(engine, built)
            made = serve(api, image, name)
            assert score(api, made) == ["known", 1000]
            assert "pulling" in api.log(f"/services/{made['id']}/logs")
            assert "canary-secret" not in build_log(api, image)

    def test_what_nothing_runs_is_garbage(
        self,
        engine: Any,
        start_service: Callable[..., ServiceProcess],
        write_driver: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        name: str,
    ) -> None:
        api = start_service("--base-image", BASE)
        wanted = tmp_path / "requirements.txt"
        wanted.write_text("six\n")
        used = build(api, write_driver(SAYS.format(word="used"), "used"), name)
        folder = write_driver(SAYS.format(word="unused"), "unused")
        unused = build(api, folder, name, pipRequirements=wanted.as_uri())
        pins = sorted((api.home / "environments").glob("*.pinned"), key=lambda path: path.stat().st_mtime)
        made = serve(api, used, name)
        collect = ("gc", "--home", api.home, "--older-than", "0", "--delete")
        with monkeypatch.context() as nowhere:
            nowhere.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
            assert "No Docker engine responds" in mlmgmt(*collect)
        assert engine.images(unused["imageLocation"])
        assert f"{name} version {unused['version']}" in mlmgmt(*collect)
        assert not engine.images(unused["imageLocation"])
        assert [path.exists() for path in pins] == [True, False]
        assert engine.images(used["imageLocation"])
        assert score(api, made) == ["used", 1000]


class TestService:
    def test_its_life(
        self, service: ServiceProcess, engine: Any, image: Any, write_driver: Callable[..., Path], name: str
    ) -> None:
        """Pull by digest, run, score, update under load, scale, kill, delete."""
        built = service.get(f"/images/{image['id']}/docker")
        remove_image(engine, built)
        reserved = {"cpu": "500m", "memory": "300Mi"}
        made = serve(service, image, name, numReplicas=2, containerResourceReservation=reserved)
        repository = built["reference"].rpartition(":")[0]
        assert f"pulling {repository}@{built['digest']}" in service.log(f"/services/{made['id']}/logs")
        assert score(service, made) == ["first", 1000]
        keys = service.get(f"/services/{made['id']}/keys")
        seen = [engine.inspect_container(one["Id"]) for one in containers(engine, service, of=name)]
        assert len(seen) == 2
        for one in seen:
            assert one["HostConfig"]["CpuShares"] == 512
            assert one["HostConfig"]["Memory"] == 300 * 2**20
            assert one["HostConfig"]["RestartPolicy"]["Name"] == "no"
            assert one["Config"]["User"] == "1000:1000"
            told = json.dumps(one)
            assert not any(key in told for key in keys.values())
        assert "hello from init" in service.log(f"/services/{made['id']}/logs")

        other = build(service, write_driver(SAYS.format(word="second")), "first")
        with under_load(service, made) as wrong:
            update = service.request("PUT", f"/services/{made['id']}", json={"imageId": other["id"]})
            assert service.operation(update, timeout=120)["state"] == "Succeeded"
            assert score(service, made) == ["second", 1000]
        assert not wrong

        new_key = service.request("POST", f"/services/{made['id']}/regenerateKeys", json={"keyType": "Primary"}).json()[
            "primaryKey"
        ]
        assert service.score(made, "1", key=new_key).status_code == 200
        assert service.score(made, "1", key=keys["primaryKey"]).status_code == 401

        before = {one["Id"] for one in containers(engine, service, of=name, ended=False)}
        for victim in before:
            engine.kill(victim)
        eventually(
            lambda: (
                len(alive := {one["Id"] for one in containers(engine, service, of=name, ended=False)}) == 2
                and not alive & before
            ),
            60,
            "two new containers",
        )
        assert score(service, made) == ["second", 1000]
        assert "SIGKILL" in service.log(f"/services/{made['id']}/logs")
        metrics = service.request("GET", service.base_url.partition("/api/")[0] + "/metrics").text
        line = next(line for line in metrics.splitlines() if "mlmgmt_requests_total" in line and name in line)
        assert float(line.split()[-1]) > 0

        assert service.request("DELETE", f"/services/{made['id']}").status_code == 200
        eventually(lambda: not containers(engine, service, of=name), 60, "the end of the containers")
        with pytest.raises(requests.ConnectionError):
            requests.post(made["scoringUri"], timeout=5)
