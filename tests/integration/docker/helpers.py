"""Helpers of the tests of compute `docker`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.conftest import ServiceProcess
from tests.support.engine import Registry

SAYS = "import os\n\ndef init():\n    print('hello from init')\n\ndef run(body):\n    return [{word!r}, os.getuid()]\n"


def ask_for_image(api: ServiceProcess, manifest_id: str, name: str) -> requests.Response:
    request = {"name": name, "manifestId": manifest_id, "imageType": "Docker", "computeResourceId": "docker"}
    return api.request("POST", "/images", json=request)


def build(api: ServiceProcess, folder: Path, name: str, *models: str, **properties: str) -> Any:
    """Build and return an image of a folder."""
    manifest = api.manifest(folder, *models, name=name, properties=properties)
    ended = api.operation(ask_for_image(api, manifest["id"], name), timeout=170)
    assert ended["state"] == "Succeeded", (ended, api.log(ended["resourceLocation"] + "/buildLog"))
    return api.get("/images/" + ended["resourceLocation"].rpartition("/")[2])


def serve(api: ServiceProcess, image: Any, name: str, **more: Any) -> Any:
    return api.service(image["id"], name, computeResource={"id": "docker", "type": "Cluster"}, **more)


def containers(engine: Any, api: ServiceProcess, *, of: str = "", ended: bool = True) -> list[Any]:
    """Return the containers of a service process, or of one of its services."""
    labels = [f"mlmgmt-nb.home={(api.home / 'id').read_text()}", *([f"mlmgmt-nb.service={of}"] if of else [])]
    found: list[Any] = engine.containers(all=ended, filters={"label": labels})
    return found


def build_log(api: ServiceProcess, image: Any) -> str:
    return api.log(f"/images/{image['id']}/buildLog")


def score(api: ServiceProcess, service: Any) -> Any:
    answer = api.score(service, "1")
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def closed_registry(folder: Path) -> Iterator[tuple[Registry, Path, dict[str, str]]]:
    """Yield a registry that asks for `ann` and `canary-secret`.

    With it, the file of Docker's configuration, which does not exist yet, and the variables of a service that reads it.
    The credential helper `canary` has the login.
    """
    users, configuration = folder / "htpasswd", folder / "config"
    # The secret's bcrypt hash.
    users.write_text("ann:$2b$04$1AAttAHEgDdZbbOZt1L.qu34toLEG0VtdkKB98bP0PP.q3YKUnYzS\n")
    configuration.mkdir()
    helper = folder / "docker-credential-canary"
    helper.write_text('#!/bin/sh\necho \'{"ServerURL": "", "Username": "ann", "Secret": "canary-secret"}\'\n')
    helper.chmod(0o755)
    (folder / "closed").mkdir()
    with Registry(folder / "closed", users) as closed:
        environment = {"DOCKER_CONFIG": str(configuration), "PATH": f"{folder}:{os.environ['PATH']}"}
        yield closed, configuration / "config.json", environment


def remove_image(engine: Any, built: Any) -> None:
    """Remove an image from the engine under all its names."""
    for tag in engine.inspect_image(built["imageId"])["RepoTags"]:
        engine.remove_image(tag, force=True)
